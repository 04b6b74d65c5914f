() => {
  // Colours are read back from a pixel, so that any notation will do. WCAG 2.2, 1.4.3: 4.5, or 3 for large text.
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const over = (top, under) => top.slice(0, 3).map((part, index) => (part * top[3]) / 255 + under[index] * (1 - top[3] / 255));
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const seen = (node) =>
    node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length && !node.closest(":disabled, .unseen, [data-picks]");
  const written = (node) =>
    [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) || node.matches("input, select, textarea");
  const poor = [];
  for (const node of [...document.querySelectorAll("body *")].filter((one) => written(one) && seen(one))) {
    const style = getComputedStyle(node), ground = behind(node), size = parseFloat(style.fontSize);
    const pen = over(rgba(node instanceof SVGElement ? style.fill : style.color), ground);
    const [a, b] = [light(pen), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), large = size >= 24 || (size >= 18.6 && style.fontWeight >= 700);
    const text = (node.textContent || node.value).trim().slice(0, 30);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${node.tagName}.${node.getAttribute("class")} ${ratio.toFixed(2)} ${text}`);
  }
  return poor;
}
