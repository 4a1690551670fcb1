{{- define "rerank-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Release names may have dots, which names of Services may not. */}}
{{- define "rerank-proxy.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trimSuffix "-" }}
{{- else }}
{{- $name := include "rerank-proxy.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.selector" -}}
app.kubernetes.io/name: {{ include "rerank-proxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Labels of the pod of `helm test`, which is none of those that serve. */}}
{{- define "rerank-proxy.testSelector" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "rerank-proxy.name" . | trunc 58 | trimSuffix "-") | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Labels of a resource; takes further ones beside the root. Those that select pods cannot be replaced. */}}
{{- define "rerank-proxy.labelsWith" -}}
{{- with .root }}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- $own := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service "helm.sh/chart" $chart }}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.commonLabels) (deepCopy $.more) (include "rerank-proxy.selector" . | fromYaml)) }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.labels" -}}
{{- include "rerank-proxy.labelsWith" (dict "root" . "more" dict) }}
{{- end }}

{{- define "rerank-proxy.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}{{ end }}
{{- end }}
{{- end }}

{{- define "rerank-proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "rerank-proxy.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{/* The URL of Elasticsearch; empty where `config` names several, or a deployment of Elastic Cloud. */}}
{{- define "rerank-proxy.upstreamUrl" -}}
{{- $elsewhere := dig "upstream" dict .Values.config | dig "urls" (dig "upstream" dict .Values.config | dig "cloud_id" "") }}
{{- with .Values.upstream }}
{{- if and .url .eck.name }}{{ fail "give either upstream.url or upstream.eck.name" }}{{ end }}
{{- if and $elsewhere (or .url .eck.name) }}{{ fail "give either upstream.url, upstream.eck.name, or one of config.upstream" }}{{ end }}
{{- if not (or .url .eck.name $elsewhere) }}{{ fail "give upstream.url, the URL of Elasticsearch, or upstream.eck.name" }}{{ end }}
{{- if .url }}{{ .url }}{{ else if .eck.name }}{{ printf "https://%s-es-http.%s.svc:9200" .eck.name (default $.Release.Namespace .eck.namespace) }}{{ end }}
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
{{- $every := ternary "[::]" "0.0.0.0" $values.ipv6 }}
{{- $admin := dict "listen" (printf "%s:9202" $every) }}
{{- if $values.admin.open }}{{ $_ := set $admin "open" true }}{{ end }}
{{- $upstream := dict }}
{{- with include "rerank-proxy.upstreamUrl" . }}{{ $_ := set $upstream "url" . }}{{ end }}
{{- if include "rerank-proxy.caSecret" . }}{{ $_ := set $upstream "ca_certs" "/run/elasticsearch/ca.crt" }}{{ end }}
{{- $registry := dict "store" $values.registry.store }}
{{- with $values.registry.username }}{{ $_ := set $registry "username" . }}{{ end }}
{{- $hub := eq $values.modelVolume.type "hub" }}
{{- $engine := dict "offline" (not $hub) }}
{{- if $hub }}{{ $_ := set $engine "artifacts_dir" "/cache/rerank-proxy" }}{{ end }}
{{- $lifecycle := dict "drain_delay_s" $values.lifecycle.drainDelaySeconds "shutdown_timeout_s" $values.lifecycle.shutdownTimeoutSeconds }}
{{- $settings := dict "listen" (printf "%s:9201" $every) "admin" $admin "upstream" $upstream "registry" $registry "engine" $engine "lifecycle" $lifecycle }}
{{- if $values.tls.secretName }}
{{- $tls := dict "cert" "/run/tls/tls.crt" "key" "/run/tls/tls.key" }}
{{- $_ := set $settings "tls" $tls }}
{{- if $values.tls.admin }}{{ $_ := set $admin "tls" (deepCopy $tls) }}{{ end }}
{{- end }}
{{- with $values.models }}{{ $_ := set $settings "models" . }}{{ end }}
{{- with $values.endpoints }}{{ $_ := set $settings "endpoints" . }}{{ end }}
{{- $config := deepCopy $values.config }}
{{- if kindIs "string" $config.admin }}{{ $_ := set $config "admin" (dict "listen" $config.admin) }}{{ end }}
{{- toYaml (mergeOverwrite $settings $config) }}
{{- end }}

{{/* What the pods run with, as far as the chart knows: nothing of `existingConfig`. */}}
{{- define "rerank-proxy.known" -}}
{{- if not .Values.existingConfig }}{{ include "rerank-proxy.settings" . }}{{ end }}
{{- end }}

{{/* `https` or `http`: the scheme of the clients' port. */}}
{{- define "rerank-proxy.scheme" -}}
{{- if or .Values.tls.secretName (include "rerank-proxy.known" . | fromYaml | dig "tls" "cert" "") }}https{{ else }}http{{ end }}
{{- end }}

{{/* The same of the admin port. */}}
{{- define "rerank-proxy.adminScheme" -}}
{{- if or (and .Values.tls.secretName .Values.tls.admin) (include "rerank-proxy.known" . | fromYaml | dig "admin" "tls" "cert" "") }}https{{ else }}http{{ end }}
{{- end }}

{{/* Refuse settings that the rest of the pod does not go with. */}}
{{- define "rerank-proxy.refuse" -}}
{{- with include "rerank-proxy.known" . | fromYaml }}
{{- if not (hasSuffix ":9201" .listen) }}{{ fail "config.listen has to end with :9201, the container's port; the Service's is service.port" }}{{ end }}
{{- if not (hasSuffix ":9202" .admin.listen) }}{{ fail "config.admin.listen has to end with :9202, the container's port" }}{{ end }}
{{- $most := addf .lifecycle.drain_delay_s .lifecycle.shutdown_timeout_s }}
{{- if le (float64 $.Values.terminationGracePeriodSeconds) $most }}{{ fail "terminationGracePeriodSeconds has to be more than the two of lifecycle together" }}{{ end }}
{{- end }}
{{- if and (or .Values.autoscaling.enabled .Values.keda.enabled) (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}{{ fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}{{ end }}
{{- $own := list "RERANK_PROXY_CONFIG" "RERANK_PROXY_STATE_DIR" "RERANK_PROXY_SECRETS_DIR" "RERANK_PROXY_REGISTRY__PASSWORD" "HF_HOME" }}
{{- $names := list }}
{{- range .Values.extraEnv }}
{{- if or (has .name $own) (has .name $names) }}{{ fail (printf "extraEnv: %s is given twice, or is the chart's own" .name) }}{{ end }}
{{- $names = append $names .name }}
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled (has .Values.modelVolume.type (list "hub" "download")) (not (or $policy.vendors $policy.extraEgress)) }}
{{- fail "the networkPolicy keeps pods from the model: say where it comes from with networkPolicy.extraEgress, or allow networkPolicy.vendors" }}
{{- end }}
{{- end }}

{{/* The ports of Elasticsearch for a NetworkPolicy, as JSON: those that are given, or that of the URL. */}}
{{- define "rerank-proxy.upstreamPorts" -}}
{{- $ports := .Values.networkPolicy.upstreamPorts }}
{{- if not $ports }}
{{- $upstream := include "rerank-proxy.known" . | fromYaml | dig "upstream" dict }}
{{- with $upstream.cloud_id }}
{{- $ports = list (regexFind "[0-9]+$" (regexFind ":[0-9]+" (splitList ":" . | last | b64dec)) | default "443" | int) }}
{{- end }}
{{- range concat (default list $upstream.urls) (compact (list $upstream.url)) }}
{{- $url := urlParse . }}
{{- $ports = append $ports (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) | int) }}
{{- end }}
{{- end }}
{{- if not $ports }}{{ fail "give networkPolicy.upstreamPorts: the chart does not know Elasticsearch's" }}{{ end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* `true` where the metrics take no token. */}}
{{- define "rerank-proxy.open" -}}
{{- if or .Values.admin.open (include "rerank-proxy.known" . | fromYaml | dig "admin" "open" false) }}true{{ end }}
{{- end }}

{{/* One endpoint of a ServiceMonitor or PodMonitor; takes the values of the monitor beside the root. */}}
{{- define "rerank-proxy.scrape" -}}
{{- with .root }}
{{- if not (or .Values.secrets.existingSecret (include "rerank-proxy.open" .)) }}{{ fail "Prometheus needs a token to read the metrics: put admin__token into a Secret and name it as secrets.existingSecret" }}{{ end }}
- port: admin
  path: /metrics
  scheme: {{ include "rerank-proxy.adminScheme" . }}
  {{- if eq (include "rerank-proxy.adminScheme" .) "https" }}
  tlsConfig:
    {{- if .Values.tls.secretName }}
    ca:
      secret: {name: {{ .Values.tls.secretName | quote }}, key: ca.crt}
    {{- end }}
    serverName: {{ include "rerank-proxy.fullname" . }}.{{ .Release.Namespace }}.svc
  {{- end }}
  {{- if .Values.secrets.existingSecret }}
  authorization:
    credentials: {name: {{ .Values.secrets.existingSecret | quote }}, key: {{ .Values.admin.tokenKey | quote }}}
  {{- end }}
{{- end }}
  interval: {{ .monitor.interval }}
  scrapeTimeout: {{ .monitor.scrapeTimeout }}
  {{- with .monitor.relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
