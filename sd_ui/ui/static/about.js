// What the chosen model is, what it can draw, and examples one click away.
const $ = (selector) => element.querySelector(selector);

function picture(strip, i, count) {
  const made = document.createElement("span");
  made.className = "ab-picture";
  made.style.backgroundImage = `url("${strip}")`;
  made.style.backgroundSize = `${100 * count}% 100%`;
  made.style.backgroundPosition = `${count > 1 ? (100 * i) / (count - 1) : 0}% 0`;
  return made;
}

function example(text, i, all) {
  const strip = (props.value || {}).strip || "";
  const made = document.createElement("button");
  const caption = document.createElement("span");
  caption.className = "ab-caption";
  caption.textContent = text;
  made.type = "button";
  made.className = strip ? "ab-example ab-shown" : "ab-example";
  made.append(...(strip ? [picture(strip, i, all.length)] : []), caption);
  made.title = `Puts this into the prompt: ${text}`;
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
