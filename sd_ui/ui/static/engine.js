// One line: what the engine is doing, and once it is ready, what it computes with.
const $ = (selector) => element.querySelector(selector);

function line(value) {
  const facts = value.facts || {}, named = ["device", "dtype", "attention"].filter((name) => facts[name]).map((name) => facts[name]);
  const how = (facts["how it runs"] || "").split(", because")[0];
  if (how && !/^everything in (graphics|main) memory$/.test(how)) named.push(how);  // what costs time, or changes pixels
  if (value.phase === "ready") return ["Ready", ...named].join(" · ");
  return value.phase === "failed" ? `The engine failed: ${value.text}` : `Starting: ${value.text || "the engine"}`;
}

function update() {
  const value = props.value || { phase: "starting", text: "" };
  $(".en").dataset.phase = value.phase;
  $(".en-text").textContent = line(value);
  $(".en").title = Object.entries(value.facts || {}).map(([name, text]) => `${name}: ${text}`).join("\n");
}

$(".en").addEventListener("click", () => {
  document.querySelector("#system .sy")?.showModal();
  trigger("open", {});
});
watch("value", update);
update();
