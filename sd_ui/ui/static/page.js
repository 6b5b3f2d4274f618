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
  if (event.key === "Escape" && !document.querySelector("dialog[open], [role=listbox]")) press("cancel");
}, true);

(() => {  // light or dark: as the system says, until a person chooses
  const kept = localStorage.getItem("sdui.colours");
  if (kept && !new URLSearchParams(location.search).has("__theme")) {
    const apply = () => document.body && document.body.classList.toggle("dark", kept === "dark");
    document.addEventListener("DOMContentLoaded", apply);
    window.addEventListener("load", () => setTimeout(apply, 0));
  }
})();
