{{- define "rerank-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "rerank-proxy.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "rerank-proxy.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.selector" -}}
app.kubernetes.io/name: {{ include "rerank-proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rerank-proxy.labels" -}}
{{ include "rerank-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}{{ end }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "rerank-proxy.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "rerank-proxy.upstreamUrl" -}}
{{- with .Values.upstream }}
{{- if and .url .eck.name }}{{ fail "give either upstream.url or upstream.eck.name" }}{{ end }}
{{- if not (or .url .eck.name) }}{{ fail "give upstream.url, the URL of Elasticsearch, or upstream.eck.name" }}{{ end }}
{{- if .url }}{{ .url }}{{ else }}{{ printf "https://%s-es-http.%s.svc:9200" .eck.name (default $.Release.Namespace .eck.namespace) }}{{ end }}
{{- end }}
{{- end }}

{{/* The Secret with the authority of Elasticsearch; empty: the authorities of the system. */}}
{{- define "rerank-proxy.caSecret" -}}
{{- with .Values.upstream }}
{{- if .caSecret.name }}{{ .caSecret.name }}
{{- else if .eck.name }}
{{- if ne (default $.Release.Namespace .eck.namespace) $.Release.Namespace }}{{ fail "the cluster is in another namespace: copy its Secret NAME-es-http-certs-public to this one, and name it as upstream.caSecret.name" }}{{ end }}
{{- printf "%s-es-http-certs-public" .eck.name }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.modelClaim" -}}
{{- with .Values.modelVolume.claim }}
{{- if not (or .name .create) }}{{ fail "give modelVolume.claim.name, or a size as modelVolume.claim.create" }}{{ end }}
{{- default (printf "%s-models" (include "rerank-proxy.fullname" $)) .name }}
{{- end }}
{{- end }}

{{/* `true` where user and group ids are left to OpenShift. */}}
{{- define "rerank-proxy.openShift" -}}
{{- if or (eq .Values.openShift "on") (and (eq .Values.openShift "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) }}true{{ end }}
{{- end }}

{{- define "rerank-proxy.podSecurityContext" -}}
{{- $given := .Values.podSecurityContext }}
{{- if include "rerank-proxy.openShift" . }}{{ $given = omit $given "runAsUser" "runAsGroup" "fsGroup" }}{{ end }}
{{- toYaml (mergeOverwrite (dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault")) (deepCopy $given)) }}
{{- end }}

{{- define "rerank-proxy.securityContext" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{/* The settings, as a file of the proxy. */}}
{{- define "rerank-proxy.settings" -}}
{{- $values := .Values }}
{{- $admin := dict "listen" "0.0.0.0:9202" }}
{{- if $values.admin.open }}{{ $_ := set $admin "open" true }}{{ end }}
{{- $upstream := dict "url" (include "rerank-proxy.upstreamUrl" .) }}
{{- if include "rerank-proxy.caSecret" . }}{{ $_ := set $upstream "ca_certs" "/run/elasticsearch/ca.crt" }}{{ end }}
{{- $registry := dict "store" $values.registry.store }}
{{- with $values.registry.username }}{{ $_ := set $registry "username" . }}{{ end }}
{{- $hub := eq $values.modelVolume.type "hub" }}
{{- $engine := dict "offline" (not $hub) }}
{{- if $hub }}{{ $_ := set $engine "artifacts_dir" "/cache/rerank-proxy" }}{{ end }}
{{- $lifecycle := dict "drain_delay_s" $values.lifecycle.drainDelaySeconds "shutdown_timeout_s" $values.lifecycle.shutdownTimeoutSeconds }}
{{- $settings := dict "listen" "0.0.0.0:9201" "admin" $admin "upstream" $upstream "registry" $registry "engine" $engine "lifecycle" $lifecycle }}
{{- if $values.tls.secretName }}
{{- $tls := dict "cert" "/run/tls/tls.crt" "key" "/run/tls/tls.key" }}
{{- $_ := set $settings "tls" $tls }}
{{- if $values.tls.admin }}{{ $_ := set $admin "tls" (deepCopy $tls) }}{{ end }}
{{- end }}
{{- with $values.models }}{{ $_ := set $settings "models" . }}{{ end }}
{{- with $values.endpoints }}{{ $_ := set $settings "endpoints" . }}{{ end }}
{{- toYaml (mergeOverwrite $settings (deepCopy $values.config)) }}
{{- end }}

{{/* `https` or `http`: the scheme of the admin port. */}}
{{- define "rerank-proxy.adminScheme" -}}
{{- if and .Values.tls.secretName .Values.tls.admin }}https{{ else }}http{{ end }}
{{- end }}

{{/* One endpoint of a ServiceMonitor or PodMonitor; takes the values of the monitor beside the root. */}}
{{- define "rerank-proxy.scrape" -}}
{{- with .root }}
{{- if not (or .Values.secrets.existingSecret .Values.admin.open) }}{{ fail "Prometheus needs a token to read the metrics: put admin__token into a Secret and name it as secrets.existingSecret" }}{{ end }}
- port: admin
  path: /metrics
  scheme: {{ include "rerank-proxy.adminScheme" . }}
  {{- if eq (include "rerank-proxy.adminScheme" .) "https" }}
  tlsConfig:
    ca:
      secret: {name: {{ .Values.tls.secretName }}, key: ca.crt}
    serverName: {{ include "rerank-proxy.fullname" . }}.{{ .Release.Namespace }}.svc
  {{- end }}
  {{- if .Values.secrets.existingSecret }}
  authorization:
    credentials: {name: {{ .Values.secrets.existingSecret }}, key: {{ .Values.admin.tokenKey }}}
  {{- end }}
{{- end }}
  interval: {{ .monitor.interval }}
  scrapeTimeout: {{ .monitor.scrapeTimeout }}
{{- end }}
