// The depth map of the last run.
const $ = (selector) => element.querySelector(selector);
function update() {
  const src = props.value && props.value.src;
  $(".dm").hidden = !src;
  if (src) $(".dm-img").src = src;
}
watch("value", update);
update();
