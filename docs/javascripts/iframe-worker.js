// Browsers start no worker for a page that is opened as a file. The search's worker then runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inner = this.frame.contentWindow
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.send = data => inner.dispatchEvent(new MessageEvent("message", { data }))
      this.loaded = new Promise(resolve => {
        const script = inner.document.createElement("script")
        script.src = url
        script.onload = resolve
        inner.document.body.append(script)
      })
    }

    postMessage(data) {
      this.loaded.then(() => this.send(data))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
