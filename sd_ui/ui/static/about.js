// What the chosen model is, what it can draw, and examples one click away.
const $ = (selector) => element.querySelector(selector);

function example(text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "ab-example";
  made.textContent = text;
  made.title = "Puts this into the prompt";
  made.addEventListener("click", () => trigger("example", { text }));
  return made;
}

function update() {
  const value = props.value || {};
  $(".ab-title").textContent = value.title || "";
  $(".ab-short").textContent = (value.text || "").split(/(?<=[.:]) /)[0];
  $(".ab-text").textContent = value.text || "";
  $(".ab-examples").replaceChildren(...(value.examples || []).map(example));
  $(".ab-hint").textContent = value.hint || "";
}

watch("value", update);
update();
