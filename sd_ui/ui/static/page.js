// Keys of the whole page, and its colours. Ctrl+Enter generates, Esc cancels.
document.addEventListener("keydown", (event) => {
  const press = (id) => { const button = document.querySelector(`#${id}`); if (button && !button.disabled) button.click(); };
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.preventDefault();
    event.stopPropagation();
    const field = document.activeElement;
    if (field && field.matches("input")) { field.blur(); field.focus(); }  // a number that is being typed counts, too
    setTimeout(() => press("generate"), 30);
  }
  if (event.key === "Escape" && !document.querySelector("dialog[open], ul[role=listbox]")) press("cancel");  // a list of choices that is open closes first
}, true);

(() => {  // light or dark: as the system says, until a person chooses
  if (new URLSearchParams(location.search).has("__theme")) return;
  const apply = () => {
    const kept = localStorage.getItem("sdui.colours");
    if (kept && document.body.classList.contains("dark") !== (kept === "dark")) document.body.classList.toggle("dark");
  };
  const begin = () => {
    new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });  // Gradio sets its own choice late
    apply();
  };
  document.body ? begin() : document.addEventListener("DOMContentLoaded", begin);
})();

// Gradio draws a typed number into the slider's range when the field is left. Here the door judges it, in words, so it stays as typed.
document.addEventListener("blur", (event) => {
  if (event.target.matches && event.target.matches("input[type=number]")) event.stopImmediatePropagation();
}, true);

// Help: each control's text stands behind its label, and shows on hover, on a tap, and when the Tab key comes by. Screen readers read it anyway.
(() => {
  const label = (node) => node.closest && node.closest("[data-testid=block-info].has-info");
  let tip = null, byKey = false;
  function hide() { if (tip) tip.hidden = true; }
  function show(owner) {
    const help = owner.nextElementSibling;
    if (!help || !help.matches(".info-text")) return;
    if (!tip) { tip = document.createElement("div"); tip.className = "tip"; tip.setAttribute("role", "tooltip"); document.body.append(tip); }
    tip.textContent = help.textContent;
    tip.hidden = false;
    const box = owner.getBoundingClientRect(), width = Math.min(340, innerWidth - 20);
    tip.style.width = `${width}px`;
    tip.style.left = `${Math.max(10, Math.min(box.left, innerWidth - width - 10))}px`;
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  }
  document.addEventListener("pointerover", (event) => { const owner = label(event.target); owner ? show(owner) : hide(); });
  document.addEventListener("click", (event) => { const owner = label(event.target); if (owner) { event.preventDefault(); show(owner); } });
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => { byKey = event.key === "Tab"; if (!byKey) hide(); }, true);
  document.addEventListener("focusin", (event) => {
    const block = byKey && event.target.closest(".block"), owner = block && block.querySelector("[data-testid=block-info].has-info");
    owner ? show(owner) : hide();
  });
})();

// What the buttons do, for the pointer and for screen readers. (Labels of fields have their help from the table of fields.)
(() => {
  const TITLES = {
    generate: "Draws what the form says (Ctrl + Enter). Press again to queue more while one runs.",
    cancel: "Cancels the job that runs, within a step (Esc)",
    colours: "Switches between light and dark",
    refresh: "Looks for new models in the models folder",
    swap: "Exchanges width and height",
    random: "A new seed for each run",
    reuse: "The seed of the picture that is shown",
  };
  const name = () => {
    if (!document.querySelector("#reuse")) return setTimeout(name, 100);
    for (const [id, title] of Object.entries(TITLES)) document.querySelector(`#${id}`).title = title;
    document.querySelector("#refresh").setAttribute("aria-label", TITLES.refresh);
    for (const button of document.querySelectorAll("#ratios button:not(#swap)")) button.title = `Width and height as ${button.textContent.trim()}, at the size the model is used to`;
  };
  name();
})();

// A press on what is said of a prompt, or Enter on it, selects the place that it is about. Places count characters, the browser counts UTF-16 units.
(() => {
  const select = (event) => {
    const line = event.target.closest && event.target.closest(".problems li[data-start]"), box = line && line.closest(".prompt-group").querySelector("textarea");
    if (!box || !getSelection().isCollapsed) return;  // what is said may be copied, too
    const units = (count) => [...box.value].slice(0, count).join("").length;
    event.preventDefault();
    box.focus();
    box.setSelectionRange(units(Number(line.dataset.start)), units(Number(line.dataset.end)));
  };
  document.addEventListener("click", select);
  document.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) select(event); });
})();
