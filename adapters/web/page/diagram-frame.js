// Runs beside Mermaid in a sandbox: no origin, no network (adapters/web/assets.py). The page sends a diagram's
// source and a port, and gets an SVG image or an error's first line.
(() => {
  const mermaid = /** @type {any} */ (globalThis).mermaid;
  const OPTIONS = {
    startOnLoad: false,
    securityLevel: "strict",
    htmlLabels: false, // an image cannot show HTML everywhere
    flowchart: { htmlLabels: false, useMaxWidth: false },
    suppressErrorRendering: true,
    maxTextSize: 20_000,
    maxEdges: 300,
    fontFamily: "system-ui, sans-serif",
  };
  let drawn = 0;

  addEventListener("message", async ({ data, ports: [port] }) => {
    if (!port) return;
    try {
      port.postMessage(await draw(String(data.source), Boolean(data.dark)));
    } catch (error) {
      port.postMessage({ error: String(/** @type {any} */ (error)?.message ?? error).split("\n")[0].slice(0, 200) });
    }
  });

  async function draw(source, dark) {
    mermaid.initialize({ ...OPTIONS, theme: dark ? "dark" : "default" });
    const { svg } = await mermaid.render(`diagram-${++drawn}`, source);
    const image = new DOMParser().parseFromString(svg, "text/html").querySelector("svg");
    if (!image) throw new Error("There is no drawing.");
    const { width, height } = image.viewBox.baseVal;
    image.removeAttribute("style");
    image.setAttribute("width", String(width));
    image.setAttribute("height", String(height));
    return { svg: new XMLSerializer().serializeToString(image), width, height };
  }
})();
