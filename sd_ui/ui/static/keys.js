// Keys of the prompt boxes, as in AUTOMATIC1111: Ctrl+Up and Ctrl+Down change a weight, Alt+Left and Alt+Right move a part between commas.
// `weighed` and `moved` know a text and a selection alone: they answer { text, start, end }, or null where there is nothing to do.
window.sdui = window.sdui || {};
(() => {
  const BOXES = ["#field-prompt", "#field-negative_prompt", "[id$=-hires_prompt]", "[id$=-hires_negative_prompt]"].map((id) => `${id} textarea`).join();
  const STEP = 0.1, TAG_STEP = 0.05;  // of a weight; of a LoRA's
  const CLOSING = { "(": ")", "[": "]", "{": "}" };
  const WORD = /(?:\\[()[\]\\]|[^\s.,\\/!?%^*;:{}=`~()[\]<>|$"])+/g;  // an escaped bracket belongs to its word
  const WEIGHT = /^(.*):\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$/s;
  const ARGUMENT = /^(\s*(?:te|unet)\s*=)?\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$/i;

  // -------------------------------------------------------------- what stands in a text
  function pairs(text) {  // brackets that close each other, each kind for itself; escaped ones are characters
    const open = { "(": [], "[": [], "{": [] }, found = [];
    for (let i = 0; i < text.length; i++) {
      if (text[i] === "\\") i++;
      else if (text[i] in open) open[text[i]].push(i);
      else for (const kind in CLOSING) if (text[i] === CLOSING[kind] && open[kind].length) found.push({ kind, open: open[kind].pop(), close: i });
    }
    return found;
  }

  function weighs(text, all, pair) {  // [cat:dog:0.5] and [cat|dog] are no weights, and neither is {a|b}
    if (pair.kind !== "[") return pair.kind === "(";
    const inner = all.filter((other) => other.open > pair.open && other.close < pair.close);
    for (let i = pair.open + 1; i < pair.close; i++)
      if (":|".includes(text[i]) && !inner.some((other) => other.open < i && i < other.close)) return false;
    return true;
  }

  function group(text, start, end) {  // the brackets that a selection means: around the caret, or exactly around what is selected
    const all = pairs(text), inward = [...all].sort((a, b) => a.close - a.open - (b.close - b.open));
    const about = (pair) => {
      if (start === end) return pair.open < start && start <= pair.close;
      const number = WEIGHT.exec(text.slice(pair.open + 1, pair.close));
      const inside = pair.open + 1 === start && (pair.close === end || (pair.kind === "(" && number && start + number[1].length === end));
      return inside || (pair.open === start && pair.close + 1 === end);
    };
    const beside = (pair) => start === end && (pair.close + 1 === start || pair.open === start);
    return inward.find((pair) => about(pair) && weighs(text, all, pair)) || inward.find((pair) => beside(pair) && weighs(text, all, pair));
  }

  // -------------------------------------------------------------- weights
  const rounded = (weight) => Number(weight.toPrecision(12));
  const said = (weight) => (Number.isInteger(weight) ? weight.toFixed(1) : String(weight));

  function wrapped(text, from, to, inside, weight) {  // text[from:to] becomes `inside` at this weight; without brackets where it is 1
    const made = weight === 1 ? inside : `(${inside}:${said(weight)})`, start = from + (weight === 1 ? 0 : 1);
    return { text: text.slice(0, from) + made + text.slice(to), start, end: start + inside.length };
  }

  function weighedGroup(text, pair, delta) {
    const number = pair.kind === "(" && WEIGHT.exec(text.slice(pair.open + 1, pair.close));
    if (number) return wrapped(text, pair.open, pair.close + 1, number[1], rounded(Number(number[2]) + delta));
    const all = pairs(text), matched = (open, close) => all.some((other) => other.kind === pair.kind && other.open === open && other.close === close);
    let { open, close } = pair, deep = 1;
    while (matched(open + 1, close - 1)) { open++; close--; }
    const inside = text.slice(open + 1, close);
    while (matched(open - 1, close + 1)) { open--; close++; deep++; }
    const now = Math.round((pair.kind === "(" ? 1.1 ** deep : 1.1 ** -deep) / STEP) * STEP;  // ((cat)) is 1.21, and goes on from 1.2
    return wrapped(text, open, close + 1, inside, rounded(now + delta));
  }

  function weighedWord(text, start, end, delta) {
    if (start === end) {
      const word = [...text.matchAll(WORD)].find((found) => found.index <= start && start <= found.index + found[0].length);
      if (!word || word[0] === "AND" || word[0] === "BREAK") return null;
      [start, end] = [word.index, word.index + word[0].length];
    }
    while (end > start && /\s/.test(text[end - 1])) end--;
    while (end > start && /\s/.test(text[start])) start++;
    return start === end ? null : wrapped(text, start, end, text.slice(start, end), rounded(1 + delta));
  }

  function weighedTag(text, tag, caret, delta) {  // <lora:name:0.8>: the number under the caret, else the last one
    let at = tag.index + 1, chosen = null;
    const parts = tag[0].slice(1, -1).split(":");
    parts.forEach((part, i) => {
      const number = i > 1 && ARGUMENT.exec(part), from = at + part.lastIndexOf(number ? number[2] : ""), here = at <= caret && caret <= at + part.length;
      if (number && (here || !chosen || !chosen.here)) chosen = { from, to: from + number[2].length, value: Number(number[2]), here };
      at += part.length + 1;
    });
    if (!chosen && parts.length !== 2) return null;
    const from = chosen ? chosen.from : at - 1, weight = said(rounded((chosen ? chosen.value : 1) + delta)), made = chosen ? weight : `:${weight}`;
    const end = from + made.length;
    return { text: text.slice(0, from) + made + text.slice(chosen ? chosen.to : from), start: end, end };
  }

  function weighed(text, start, end, up) {
    const tag = [...text.matchAll(/<\w+:[^<>\n]*>/g)].find((found) => found.index < Math.max(start, 1) && end < found.index + found[0].length);
    if (tag) return weighedTag(text, tag, end, up ? TAG_STEP : -TAG_STEP);
    const pair = group(text, start, end), delta = up ? STEP : -STEP;
    return pair ? weighedGroup(text, pair, delta) : weighedWord(text, start, end, delta);
  }

  // -------------------------------------------------------------- order
  function parts(text) {  // what stands between commas and line ends outside of brackets, without the spaces around it
    const all = pairs(text), found = [];
    let from = 0;
    for (let i = 0; i <= text.length; i++) {
      if (i < text.length && (!",\n".includes(text[i]) || all.some((pair) => pair.open < i && i < pair.close))) continue;
      const part = text.slice(from, i), start = from + part.length - part.trimStart().length;
      found.push({ from, to: i, start, end: start + part.trim().length });
      from = i + 1;
    }
    return found;
  }

  function moved(text, start, end, right) {
    const all = parts(text), within = (place) => all.findIndex((part) => place <= part.to);
    const first = all[within(start)], last = all[within(end)], full = all.filter((part) => part.end > part.start);
    const other = right ? full.find((part) => part.from > last.to) : full.findLast((part) => part.to < first.from);
    if (!other || last.end <= first.start) return null;
    const [a, b, c, d] = right ? [first.start, last.end, other.start, other.end] : [other.start, other.end, first.start, last.end];
    const made = text.slice(0, a) + text.slice(c, d) + text.slice(b, c) + text.slice(a, b) + text.slice(d), by = right ? d - b : a - c;
    const inside = (place) => Math.min(Math.max(place, first.start), last.end) + by;
    return { text: made, start: inside(start), end: inside(end) };
  }

  // -------------------------------------------------------------- in the box
  function put(box, made) {  // as if it had been typed: Ctrl+Z takes it back, and Gradio hears of it
    const old = box.value, text = made.text, most = Math.min(old.length, text.length);
    let from = 0, behind = 0;
    while (from < most && old[from] === text[from]) from++;
    while (behind < most - from && old[old.length - 1 - behind] === text[text.length - 1 - behind]) behind++;
    if (/[\uD800-\uDBFF]/.test(old[from - 1] || "")) from--;  // no half characters
    if (/[\uDC00-\uDFFF]/.test(old[old.length - behind] || "")) behind--;
    const typed = text.slice(from, text.length - behind);
    box.focus();
    box.setSelectionRange(from, old.length - behind);
    if (text !== old && !document.execCommand(typed ? "insertText" : "delete", false, typed)) {
      box.setRangeText(typed, from, old.length - behind, "end");
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }
    box.setSelectionRange(made.start, made.end);
  }

  document.addEventListener("keydown", (event) => {
    const box = event.target;
    if (event.isComposing || event.shiftKey || !box.matches || !box.matches(BOXES)) return;
    const weight = (event.ctrlKey || event.metaKey) && !event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown");
    const order = event.altKey && !event.ctrlKey && !event.metaKey && (event.key === "ArrowLeft" || event.key === "ArrowRight");
    if (!weight && !order) return;
    event.preventDefault();  // Alt+Left would leave the page
    const does = weight ? weighed : moved, made = does(box.value, box.selectionStart, box.selectionEnd, event.key === "ArrowUp" || event.key === "ArrowRight");
    if (made) put(box, made);
  }, true);

  Object.assign(window.sdui, { BOXES, weighed, moved, put });
})();
