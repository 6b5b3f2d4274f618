// What is odd in a prompt is underlined where it stands: a transparent copy of the box's text lies over it. It also knows where the caret is.
window.sdui = window.sdui || {};
(() => {
  const NAMES = ["prompt", "negative_prompt"];
  const COPIED = ["font", "letterSpacing", "wordSpacing", "lineHeight", "textAlign", "textIndent", "textTransform", "tabSize", "direction", "padding"];
  const layers = new WeakMap();  // a box's { layer, text, marks }; marks: { start, end, fatal } in UTF-16 units

  function layerOf(box) {
    const group = box.closest(".prompt-group") || box.closest(".block");
    if (!layers.has(box)) layers.set(box, { layer: document.createElement("div"), text: box.value, marks: [] });
    const { layer } = layers.get(box);
    if (layer.parentElement !== group) {
      layer.className = "prompt-marks";
      layer.setAttribute("aria-hidden", "true");
      group.append(layer);
      box.addEventListener("scroll", () => { layer.scrollTop = box.scrollTop; });
      new ResizeObserver(() => draw(box)).observe(box);
    }
    return layer;
  }

  function draw(box) {
    const layer = layerOf(box), { marks } = layers.get(box), style = getComputedStyle(box);
    const at = box.getBoundingClientRect(), group = layer.parentElement.getBoundingClientRect();
    for (const name of COPIED) layer.style[name] = style[name];
    Object.assign(layer.style, { left: `${at.left - group.left + box.clientLeft}px`, top: `${at.top - group.top + box.clientTop}px` });
    Object.assign(layer.style, { width: `${box.clientWidth}px`, height: `${box.clientHeight}px` });
    layer.replaceChildren(...pieces(box.value, marks), "\u200b");  // a last empty line has its height, too
    layer.scrollTop = box.scrollTop;
  }

  function pieces(text, marks) {
    const places = [...new Set([0, text.length, ...marks.flatMap((mark) => [mark.start, mark.end])])].filter((place) => place <= text.length).sort((a, b) => a - b);
    return places.slice(1).map((to, i) => {
      const made = document.createElement("span"), over = marks.filter((mark) => mark.start < to && places[i] < mark.end);
      made.textContent = text.slice(places[i], to);
      if (over.length) made.className = over.some((mark) => mark.fatal) ? "fatal" : "odd";
      return made;
    });
  }

  // What is typed moves the marks behind it and takes away those that it changes, until the next look at the prompt.
  function typed(box) {
    const known = layers.get(box), old = known.text, now = box.value, most = Math.min(old.length, now.length);
    let from = 0, behind = 0;
    while (from < most && old[from] === now[from]) from++;
    while (behind < most - from && old[old.length - 1 - behind] === now[now.length - 1 - behind]) behind++;
    const by = now.length - old.length, kept = known.marks.filter((mark) => mark.end <= from || mark.start >= old.length - behind);
    known.marks = kept.map((mark) => (mark.end <= from ? mark : { ...mark, start: mark.start + by, end: mark.end + by }));
    known.text = now;
  }

  function looked(name) {
    const box = document.querySelector(`#field-${name} textarea`);
    if (!box) return;
    layerOf(box);
    const lines = [...document.querySelectorAll(`#problems-${name} li[data-start]`)], chars = [...box.value];
    if (lines.length && Number(lines[0].parentElement.dataset.length) !== chars.length) return;  // said of what stood there a moment ago
    const units = (count) => chars.slice(0, count).join("").length;  // places count characters, the browser counts UTF-16 units
    const marks = lines.map(({ dataset, className }) => ({ start: units(Number(dataset.start)), end: units(Number(dataset.end)), fatal: className === "fatal" }));
    Object.assign(layers.get(box), { text: box.value, marks });
    draw(box);
  }

  function place(box, index) {  // where a character of a box stands, as a rectangle of the window
    draw(box);
    const range = document.createRange();
    let left = index, node = null;
    for (const piece of layers.get(box).layer.childNodes) {
      node = piece.firstChild || piece;
      if (left <= node.data.length) break;
      left -= node.data.length;
    }
    range.setStart(node, Math.min(left, node.data.length));
    return range.getClientRects()[0] || range.getBoundingClientRect();
  }

  const begin = () => {
    const said = NAMES.map((name) => document.querySelector(`#problems-${name}`));
    if (!said.every(Boolean) || !document.querySelector(window.sdui.BOXES)) return setTimeout(begin, 200);
    NAMES.forEach((name, i) => new MutationObserver(() => looked(name)).observe(said[i], { childList: true, subtree: true, characterData: true }));
    NAMES.forEach(looked);
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches && event.target.matches(window.sdui.BOXES) && layers.has(event.target)) { typed(event.target); draw(event.target); }
  });
  begin();
  Object.assign(window.sdui, { place });
})();
