// Shows the values under the pointer in every chart of lines.
for (const svg of document.querySelectorAll("svg[data-lines]")) {
  const { x, lines } = JSON.parse(svg.dataset.lines);
  const [left, top, right, bottom] = svg.dataset.plot.split(",").map(Number);
  const [cross, card] = [svg.querySelector(".cross"), svg.parentElement];
  const place = (value) => (x.length > 1 ? left + ((value - x[0]) / (x[x.length - 1] - x[0])) * (right - left) : (left + right) / 2);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  card.append(tip);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    let nearest = 0;
    x.forEach((value, i) => { if (Math.abs(place(value) - at) < Math.abs(place(x[nearest]) - at)) nearest = i; });
    cross.setAttribute("d", `M${place(x[nearest])} ${top}V${bottom}`);
    tip.textContent = "";
    tip.append(`${svg.dataset.axis} ${+x[nearest].toFixed(3)}`);
    for (const [name, , values] of lines.filter((line) => line[2][nearest] !== null)) {
      const row = document.createElement("div");
      row.textContent = `${name} ${values[nearest]}`;
      tip.append(row);
    }
    tip.hidden = false;
    const middle = (place(x[nearest]) / svg.viewBox.baseVal.width) * box.width + (box.left - card.getBoundingClientRect().left);
    tip.style.left = `${Math.min(Math.max(middle - tip.offsetWidth / 2, 4), card.clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${box.bottom - card.getBoundingClientRect().top - 4}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; cross.setAttribute("d", ""); });
}
