// Completing words in the prompt boxes: LoRAs after <, wildcards after __, embeddings and tags by name. The server knows the names; here is the list.
(() => {
  const PAUSE = 90, SENT = 160;  // milliseconds of typing; characters before the caret that the server is told
  const { BOXES } = window.sdui;
  let list = null, owner = null, answer = null, chosen = -1, wanted = 0, asking = null;

  // -------------------------------------------------------------- asking
  function later(box) {
    clearTimeout(wanted);
    wanted = setTimeout(() => ask(box), PAUSE);
  }

  async function ask(box) {
    const caret = box.selectionStart, text = box.value;
    if (asking) asking.abort();
    if (document.activeElement !== box || caret !== box.selectionEnd || /[\p{L}\p{N}_]/u.test(text[caret] || "")) return close();
    const question = {
      text: text.slice(0, caret).slice(-SENT),
      box: box.closest("[id$=negative_prompt]") ? "negative_prompt" : "prompt",
      model: document.body.dataset.model || "",
    };
    asking = new AbortController();
    try {
      const said = await fetch("suggestions", { method: "POST", body: JSON.stringify(question), signal: asking.signal, headers: { "Content-Type": "application/json" } });
      const found = said.ok ? await said.json() : { found: [] };
      if (document.activeElement === box && box.value === text && box.selectionStart === caret) open(box, text, caret, found);
    } catch (error) {
      close();  // typed on, or the server is away: then the page says so elsewhere
    }
  }

  // -------------------------------------------------------------- the list
  function open(box, text, caret, found) {
    close();
    if (!found.found.length) return;
    const units = [...text.slice(0, caret)].slice(-found.length).join("").length;  // the server counts characters, the browser UTF-16 units
    [owner, list, answer] = [box, document.createElement("ul"), { ...found, text, caret, from: caret - units }];
    list.className = "suggest";
    list.id = "suggest";
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Suggestions");
    list.append(...found.found.map(row));
    document.body.append(list);
    box.setAttribute("aria-controls", "suggest");
    box.setAttribute("aria-autocomplete", "list");
    lay();
    choose(found.sure ? 0 : -1);
  }

  function row(item, i) {
    const made = document.createElement("li"), texts = [["sg-name", item.name], ["sg-note", item.note], ["sg-kind", item.kind]];
    made.id = `suggest-${i}`;
    made.setAttribute("role", "option");
    for (const [name, text] of texts) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      made.append(part);
    }
    made.addEventListener("mousedown", (event) => { event.preventDefault(); take(i); });  // before the box loses the focus
    return made;
  }

  function lay() {  // under the first letter of what is replaced; above it where there is no room below
    const at = window.sdui.place(owner, answer.from), room = window.visualViewport ? visualViewport.height : innerHeight;
    const box = owner.getBoundingClientRect(), bar = getComputedStyle(document.querySelector("#actions")).position === "fixed" ? 80 : 0;
    const line = Math.min(Math.max(at.bottom, box.top), box.bottom), below = room - bar - line;
    list.style.maxHeight = `${Math.min(300, Math.max(below, at.top) - 12)}px`;
    const up = below < list.offsetHeight + 8 && at.top > below;
    list.style.left = `${Math.max(8, Math.min(at.left - 10, innerWidth - list.offsetWidth - 8))}px`;
    list.style.top = `${up ? at.top - list.offsetHeight - 4 : line + 4}px`;
  }

  function choose(i) {
    chosen = i;
    [...list.children].forEach((one, j) => one.setAttribute("aria-selected", String(j === i)));
    if (i < 0) return owner.removeAttribute("aria-activedescendant");
    owner.setAttribute("aria-activedescendant", `suggest-${i}`);
    list.children[i].scrollIntoView({ block: "nearest" });
  }

  function close() {
    if (!list) return;
    list.remove();
    for (const name of ["aria-controls", "aria-autocomplete", "aria-activedescendant"]) owner.removeAttribute(name);
    list = owner = answer = null;
  }

  function take(i) {
    const box = owner, { found, text, from, caret } = answer, item = found[i], closed = /^[^<>\s,]*>/, mark = /^__/;
    const after = text.slice(caret).replace(item.insert.endsWith(">") ? closed : item.insert.endsWith("__") ? mark : "", "");
    const made = item.insert + (item.kind === "tag" && !after.trim() ? ", " : "");
    close();
    window.sdui.put(box, { text: text.slice(0, from) + made + after, start: from + made.length, end: from + made.length });
    clearTimeout(wanted);
    if (item.kind === "style") document.querySelector("#styles-editor .st").dispatchEvent(new CustomEvent("choose", { detail: item.name }));
  }

  // -------------------------------------------------------------- keys and presses
  const of = (event) => event.target.matches && event.target.matches(BOXES);

  document.addEventListener("input", (event) => { if (of(event) && !event.isComposing) later(event.target); });
  document.addEventListener("focusout", (event) => { if (of(event)) close(); });
  document.addEventListener("mousedown", (event) => { if (list && !list.contains(event.target)) close(); }, true);
  addEventListener("resize", close);
  document.addEventListener("scroll", (event) => { if (list && !list.contains(event.target)) close(); }, true);

  document.addEventListener("keydown", (event) => {
    if (!of(event) || event.isComposing) return;
    clearTimeout(wanted);  // a key that types asks again
    if (!list) return;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey, count = list.children.length;
    const acts = {
      ArrowDown: () => choose((chosen + 1) % count),
      ArrowUp: () => choose(chosen <= 0 ? count - 1 : chosen - 1),
      Tab: () => take(Math.max(chosen, 0)),
      Enter: chosen < 0 ? null : () => take(chosen),
      Escape: close,
    };
    if (owner.value !== answer.text || owner.selectionStart !== answer.caret) {  // the answer to what was just typed is on its way
      if (event.key === "Tab") event.preventDefault();
    } else if (plain && acts[event.key]) {
      event.preventDefault();
      event.stopImmediatePropagation();  // Gradio's box and the keys of the page have nothing to do with it
      acts[event.key]();
    } else if (event.key.length > 1 && !["Shift", "Control", "Alt", "Meta", "Backspace"].includes(event.key)) close();
  }, true);
})();
