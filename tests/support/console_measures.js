// What axe-core does not measure: edges of fields 3:1, placeholders 4.5:1, targets of 24 pixels, a page as wide as its window, names of fields,
// tables and options that are cut.
() => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (a, b) => {
    const [x, y] = [light(rgb(a)), light(rgb(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = getComputedStyle(n).backgroundColor;
      if (rgb(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((node) => node.offsetParent !== null);
  const found = [], note = (what, node) => found.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
  for (const field of shown("main input, main select, main textarea, main button, .drop")) {
    const own = behind(field), around = behind(field.parentElement), placeholder = getComputedStyle(field, "::placeholder");
    const edge = Math.max(ratio(getComputedStyle(field).borderTopColor, around), ratio(own, around));
    if (edge < 3) note(`edge ${edge.toFixed(2)}`, field);
    if (field.placeholder && (ratio(placeholder.color, own) < 4.5 || placeholder.opacity !== "1")) note("placeholder", field);
    if (field.labels && !field.matches("button") && !field.labels.length) note("no name", field);
  }
  for (const target of shown("a, button, input, select, summary, textarea")) {
    const box = target.getBoundingClientRect(), inline = target.matches("p a:not(.button), .skip"); // links within text may be smaller
    if (!inline && (box.height < 24 || box.width < 24)) note(`target ${box.width} x ${box.height}`, target);
  }
  if (innerWidth < 600) {
    for (const part of shown(".scroll, .scroll td")) if (part.scrollWidth > part.clientWidth) note("cut", part);
  }
  const ARROW = 20;
  for (const select of shown("main select")) {
    const style = getComputedStyle(select), room = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - ARROW;
    probe.font = style.font;
    for (const option of select.options) if (probe.measureText(option.text).width > room) note(`cut option "${option.text}"`, select);
  }
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return wide > 0 ? [...found, `the page is ${wide} pixels too wide`] : found;
}
