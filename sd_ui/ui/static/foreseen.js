// What a press on Generate would bring: one line, and below it what is worth knowing before. Prompts are quoted in it: textContent only.
const $ = (selector) => element.querySelector(selector);
const NAMES = { refuse: "Will be refused", warn: "Warning", note: "Note" };

function shown(field) {
  const candidates = [`#field-${field}`, ...["txt2img", "img2img", "inpaint", "depth2img"].map((mode) => `#${mode}-${field}`)];
  return candidates.map((selector) => document.querySelector(selector)).find((found) => found && found.offsetParent);
}

function line({ severity, field, text }) {
  const made = document.createElement("li"), said = document.createElement(field ? "button" : "span");
  made.dataset.severity = severity;
  made.title = NAMES[severity] || "";
  said.textContent = text;
  if (field) {
    said.type = "button";
    said.addEventListener("click", () => {
      const place = shown(field);
      if (!place) return;
      place.scrollIntoView({ block: "center", behavior: "smooth" });
      place.querySelector("textarea, input")?.focus({ preventScroll: true });
    });
  }
  made.append(said);
  return made;
}

function update() {
  const value = props.value;
  $(".fs").hidden = !value;
  $(".fs-text").textContent = value ? value.text : "";
  $(".fs-lines").replaceChildren(...(value ? value.lines : []).map(line));
}

watch("value", update);
update();
