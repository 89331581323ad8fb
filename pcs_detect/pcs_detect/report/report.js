"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const ROWS = 1000; // of the table of one photograph
  const MARGIN = 12; // px of the screen around a whole photograph

  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const drawn = (name, attributes, text = "") => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const shown = (x) => (x === "" ? "-" : Math.abs(x) >= 1000 ? (+x).toFixed(0) : String(+(+x).toPrecision(4)));

  // ---- files

  for (const button of document.querySelectorAll("[data-download]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const { file, text } = data.files[button.dataset.download];
      const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      element("a", { href: url, download: file }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    });
  }

  /** Rows of a CSV text, the first one its head; cells in quotes may hold commas, quotes and line breaks. */
  function* parsed(text) {
    const cell = /(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/y;
    let row = [];
    while (cell.lastIndex < text.length) {
      const [, quoted, plain, end] = cell.exec(text);
      row.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
      if (end !== ",") {
        yield row;
        row = [];
      }
    }
    if (row.length) yield [...row, ""]; // the text ends in a comma
  }

  if (!data.photographs.length) return;
  document.body.classList.add("ready");
  $("viewer").hidden = false;

  const rows = parsed(data.files.crystals.text);
  const head = rows.next().value;
  const rowsOf = new Map(data.photographs.map((p) => [p.name, []]));
  const image = head.indexOf("image");
  for (const row of rows) rowsOf.get(row[image].trim())?.push(row);
  const crystalsOf = (name) =>
    rowsOf.get(name).map((row) => {
      const crystal = Object.fromEntries(head.map((column, i) => [column, row[i]]));
      crystal.inside = crystal.at_border.toLowerCase() !== "true" && crystal.at_border !== "1";
      return crystal;
    });
  const hasScale = data.unit === "um";
  const columns = head.filter((name) => name !== "image" && (hasScale || !/_um2?$/.test(name)));
  const named = (name) =>
    name.replace(/_(px|um2|um|deg)$/, (_, u) => ` (${{ px: "px", um: "µm", um2: "µm²", deg: "°" }[u]})`)
      .replace("area (px)", "area (px²)").replaceAll("_", " ");

  // ---- the photograph and its boxes

  const stage = $("stage"), boxes = $("boxes"), photo = $("photo");
  let number = 0; // of the photograph
  let here = []; // its crystals
  let chosen = -1; // of these
  let order = []; // of the rows of the table
  let sorting = { column: "crystal", sign: 1 };
  const view = { x: 0, y: 0, scale: 1 }; // centre, px of the photograph; px of the photograph per px of the screen

  const size = () => [Math.max(stage.clientWidth, 1), Math.max(stage.clientHeight, 1)];
  const wholeScale = () => {
    const [w, h] = size(), p = data.photographs[number];
    return Math.max(p.width / Math.max(w - 2 * MARGIN, 1), p.height / Math.max(h - 2 * MARGIN, 1)) || 1;
  };
  let fitted = true; // whether all of the photograph is seen, and shall be after a change of the window
  const between = (low, x, high) => Math.min(Math.max(x, low), high);

  function place() {
    const [w, h] = size(), p = data.photographs[number];
    view.scale = between(Math.min(1 / 24, wholeScale()), view.scale, wholeScale());
    fitted = view.scale === wholeScale();
    const [vw, vh] = [w * view.scale, h * view.scale];
    const [left, top] = [Math.min(p.width, 0.8 * vw) / 2, Math.min(p.height, 0.8 * vh) / 2]; // little of nothing is seen
    view.x = between(left, view.x, p.width - left);
    view.y = between(top, view.y, p.height - top);
    stage.setAttribute("viewBox", `${view.x - vw / 2} ${view.y - vh / 2} ${vw} ${vh}`);
    const unit = p.scale ?? 1;
    const most = 0.3 * w * view.scale * unit;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].find((k) => k * power <= most) * power;
    $("ruler-bar").style.width = `${length / unit / view.scale}px`;
    $("ruler-text").textContent = `${+length.toPrecision(3)} ${p.scale === null ? "px" : "µm"}`;
  }
  function whole() {
    const p = data.photographs[number];
    Object.assign(view, { x: p.width / 2, y: p.height / 2, scale: wholeScale() });
    place();
  }
  /** Zoom so that the point at (x, y) of the screen, from the stage's corner, stays where it is. */
  function zoom(factor, x = size()[0] / 2, y = size()[1] / 2) {
    const [w, h] = size(), before = view.scale;
    view.scale = between(Math.min(1 / 24, wholeScale()), before / factor, wholeScale());
    view.x += (x - w / 2) * (before - view.scale);
    view.y += (y - h / 2) * (before - view.scale);
    place();
  }
  function move(across, down) {
    view.x += across * view.scale;
    view.y += down * view.scale;
    place();
  }

  function outline(crystal) {
    const [w, h, t] = [+crystal.width_px + data.enlarged, +crystal.height_px + data.enlarged, (+crystal.angle_deg * Math.PI) / 180];
    const [ax, ay, bx, by] = [(Math.cos(t) * w) / 2, (Math.sin(t) * w) / 2, (-Math.sin(t) * h) / 2, (Math.cos(t) * h) / 2];
    return [[-1, -1], [1, -1], [1, 1], [-1, 1]]
      .map(([i, j]) => `${(+crystal.x_px + i * ax + j * bx).toFixed(2)},${(+crystal.y_px + i * ay + j * by).toFixed(2)}`)
      .join(" ");
  }

  function open(which) {
    number = which;
    line = null;
    drawLine();
    const p = data.photographs[number];
    here = crystalsOf(p.name);
    $("which").value = String(number);
    const thumb = document.querySelector(`.thumb[data-open="${number}"]`);
    for (const other of document.querySelectorAll(".thumb[aria-current]")) other.removeAttribute("aria-current");
    thumb?.setAttribute("aria-current", "true");
    const source = thumb?.querySelector("img").src;
    photo.setAttribute("width", p.width);
    photo.setAttribute("height", p.height);
    if (source) photo.setAttribute("href", source);
    else photo.removeAttribute("href");
    $("without").hidden = Boolean(source) || Boolean(p.error);
    boxes.classList.toggle("baked", p.boxed);
    boxes.replaceChildren(
      ...here
        .map((crystal, i) => [+crystal.width_px * +crystal.height_px, crystal, i])
        .sort((a, b) => b[0] - a[0]) // small ones can be clicked where they lie on large ones
        .map(([, crystal, i]) => drawn("polygon", { points: outline(crystal), class: crystal.inside ? "inside" : "border", "data-crystal": i })),
    );
    const border = here.filter((c) => !c.inside).length;
    $("stage-text").textContent = `${p.name}, ${here.length} crystals`;
    $("about").textContent = p.error || `${p.name}: ${p.width} x ${p.height} px, ${here.length} crystals, ${border} of them at the border.`;
    drawHistograms();
    hideLow();
    choose(-1);
    listRows();
    whole();
  }

  function hideLow() {
    const least = +$("least").value;
    $("least-text").textContent = least.toFixed(2);
    for (const box of boxes.children) box.classList.toggle("low", +here[box.dataset.crystal].score < least);
  }

  // ---- one crystal

  function choose(which, centre = false) {
    chosen = which;
    for (const old of document.querySelectorAll("polygon.chosen, #rows tr.chosen")) old.classList.remove("chosen");
    const crystal = here[which];
    $("crystal-title").textContent = crystal ? `Crystal ${crystal.crystal}` : "Crystal";
    const entries = crystal
      ? columns.filter((c) => c !== "crystal").flatMap((c) => [element("dt", {}, named(c)), element("dd", {}, c === "at_border" ? (crystal.inside ? "no" : "yes") : shown(crystal[c]))])
      : [element("dt", {}, here.length ? "Click on one in the picture." : "There are none.")];
    $("crystal").replaceChildren(...entries);
    if (!crystal) return;
    const box = boxes.querySelector(`[data-crystal="${which}"]`);
    box.classList.add("chosen");
    const row = document.querySelector(`#rows tr[data-crystal="${which}"]`);
    row?.classList.add("chosen");
    if (row && $("rows").open) {
      const list = row.closest(".scroll"); // scrollIntoView would move the page as well
      list.scrollTop = row.offsetTop - list.clientHeight / 2;
    }
    if (centre) {
      const [w, h] = size(), [x, y] = [+crystal.x_px, +crystal.y_px];
      view.scale = Math.min(view.scale, (6 * +crystal.width_px) / Math.min(w, h));
      view.scale = Math.max(view.scale, 0.1);
      Object.assign(view, { x, y });
      place();
    }
  }
  const step = (by) => {
    if (!order.length) return;
    const at = order.indexOf(chosen);
    choose(order[at < 0 ? (by > 0 ? 0 : order.length - 1) : (at + by + order.length) % order.length], true);
  };

  // ---- a scale bar, measured

  let measuring = false;
  let line = null; // [x, y] of its ends, px of the photograph
  const pointed = (event) => {
    const { left, top } = stage.getBoundingClientRect(), [w, h] = size();
    return [view.x + (event.clientX - left - w / 2) * view.scale, view.y + (event.clientY - top - h / 2) * view.scale];
  };
  function drawLine() {
    $("bar").setAttribute("visibility", line ? "visible" : "hidden");
    const output = $("bar-text");
    if (!line) {
      output.textContent = "no line yet";
      return;
    }
    const [[x1, y1], [x2, y2]] = line;
    for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) $("bar").setAttribute(name, value);
    const pixels = Math.hypot(x2 - x1, y2 - y1), length = +$("bar-length").value;
    output.textContent = `${pixels.toFixed(1)} px` +
      (length > 0 && pixels > 0 ? `: ${+(length / pixels).toPrecision(4)} µm per px, for predict --um-per-px ${+(length / pixels).toPrecision(4)}` : "");
  }
  function measure() {
    measuring = !measuring;
    $("measure").setAttribute("aria-pressed", String(measuring));
    $("measured").hidden = !measuring;
    stage.classList.toggle("measuring", measuring);
    line = null;
    drawLine();
  }
  $("bar-length").addEventListener("input", drawLine);

  // ---- the table of the photograph's crystals

  function listRows() {
    const key = (i) => (sorting.column === "at_border" ? +here[i].inside : +here[i][sorting.column]);
    order = here.map((_, i) => i).sort((a, b) => sorting.sign * (key(a) - key(b)));
    $("rows-text").textContent =
      here.length > ROWS ? `The first ${ROWS} of ${here.length}; the CSV file has all.` : `${here.length} crystals; a click on a column's name sorts.`;
    if (!$("rows").open) return;
    document.querySelector("#rows thead tr").replaceChildren(
      ...columns.map((c) => {
        const cell = element("th", { scope: "col" });
        if (c === sorting.column) cell.setAttribute("aria-sort", sorting.sign > 0 ? "ascending" : "descending");
        const button = element("button", { type: "button", "data-sort": c }, named(c) + (c === sorting.column ? (sorting.sign > 0 ? " ↑" : " ↓") : ""));
        cell.append(button);
        return cell;
      }),
    );
    document.querySelector("#rows tbody").replaceChildren(
      ...order.slice(0, ROWS).map((i) => {
        const row = element("tr", { "data-crystal": i });
        row.append(...columns.map((c) => element("td", {}, c === "at_border" ? (here[i].inside ? "no" : "yes") : shown(here[i][c]))));
        row.classList.toggle("chosen", i === chosen);
        return row;
      }),
    );
  }

  // ---- its sizes beside those of all

  function drawHistograms() {
    const made = Object.entries(data.histograms).map(([measure, { edges, shares }]) => {
      const values = here.filter((c) => c.inside).map((c) => +c[`${measure}_${data.unit}`]);
      const counts = shares.map(() => 0);
      const width = edges[1] - edges[0];
      for (const v of values) {
        const k = Math.floor((v - edges[0]) / width);
        if (k < counts.length) counts[Math.max(k, 0)] += 1;
      }
      const own = counts.map((n) => n / Math.max(values.length, 1));
      const top = Math.max(...own, ...shares);
      const [w, h] = [260, 62];
      const x = (i) => ((i * w) / shares.length).toFixed(1), y = (v) => (h - (v / top) * (h - 4)).toFixed(1);
      const stairs = (parts) => `M0 ${h}` + parts.map((v, i) => `V${y(v)}H${x(i + 1)}`).join("") + `V${h}`;
      const unit = data.unit === "um" ? "µm" : "px";
      const sorted = values.sort((a, b) => a - b);
      const middle = sorted.length ? (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2 : NaN;
      const caption = sorted.length ? `median ${measure} ${shown(middle)} ${unit}, n = ${sorted.length}` : `no ${measure} to measure`;
      const svg = drawn("svg", { viewBox: `0 0 ${w} ${h + 30}`, role: "img", "aria-label": `Histogram: ${caption}; line: all photographs` });
      svg.append(
        drawn("path", { class: "bars", d: stairs(own) }),
        drawn("path", { class: "all", d: stairs(shares) }),
        drawn("path", { class: "axis", d: `M0 ${h}H${w}` }),
        drawn("text", { x: 0, y: h + 12 }, "0"),
        drawn("text", { x: w, y: h + 12, "text-anchor": "end" }, `${shown(edges.at(-1))} ${unit}`),
        drawn("text", { x: w / 2, y: h + 25, "text-anchor": "middle" }, caption),
      );
      return svg;
    });
    if (made.length && data.photographs.length > 1) made.push(element("p", { class: "soft" }, "Bars: this photograph; line: all."));
    $("histograms").replaceChildren(...made);
  }

  // ---- what the user does

  const actions = {
    before: () => open((number + data.photographs.length - 1) % data.photographs.length),
    after: () => open((number + 1) % data.photographs.length),
    in: () => zoom(1.5),
    out: () => zoom(1 / 1.5),
    whole,
    measure,
    full: () => (document.fullscreenElement ? document.exitFullscreen() : $("viewer").requestFullscreen()),
    "crystal-before": () => step(-1),
    "crystal-after": () => step(1),
  };
  const keys = {
    "+": actions.in, "=": actions.in, "-": actions.out, 0: whole, f: actions.full, m: measure, n: () => step(1), p: () => step(-1),
    ArrowLeft: () => move(-60, 0), ArrowRight: () => move(60, 0), ArrowUp: () => move(0, -60), ArrowDown: () => move(0, 60),
    Escape: () => choose(-1),
    b: () => {
      const on = !($("show-inside").checked || $("show-border").checked);
      $("show-inside").checked = $("show-border").checked = on;
      toggle();
    },
  };
  const toggle = () => {
    for (const name of ["inside", "border"]) boxes.classList.toggle(`no-${name}`, !$(`show-${name}`).checked);
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-do], [data-open], [data-sort], #rows tr[data-crystal]");
    if (!target) return;
    const { do: action, open: which, sort, crystal } = target.dataset;
    if (action) actions[action]();
    if (which) open(+which); // the link itself goes to the viewer
    if (sort) {
      sorting = { column: sort, sign: sort === sorting.column ? -sorting.sign : sort === "crystal" ? 1 : -1 };
      listRows();
    }
    if (crystal) choose(+crystal, true);
  });
  stage.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { left, top } = stage.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    zoom(Math.exp(between(-0.5, -event.deltaY * lines * 0.0016, 0.5)), event.clientX - left, event.clientY - top);
  }, { passive: false });

  let held = null; // where the pointer went down, and whether it has moved since
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = { x: event.clientX, y: event.clientY, moved: false };
    if (measuring) {
      line = [pointed(event), pointed(event)];
      stage.setPointerCapture(event.pointerId);
      drawLine();
    }
  });
  stage.addEventListener("pointermove", (event) => {
    if (!held) return;
    if (measuring) {
      const [[x1, y1]] = line;
      let [x2, y2] = pointed(event);
      if (event.shiftKey) [x2, y2] = Math.abs(x2 - x1) > Math.abs(y2 - y1) ? [x2, y1] : [x1, y2];
      line = [[x1, y1], [x2, y2]];
      drawLine();
      return;
    }
    const [across, down] = [held.x - event.clientX, held.y - event.clientY];
    if (!held.moved && Math.hypot(across, down) < 4) return;
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("moving");
    held = { x: event.clientX, y: event.clientY, moved: true };
    move(across, down);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      if (held && !measuring && !held.moved && end === "pointerup") choose(+(event.target.dataset.crystal ?? -1));
      held = null;
      stage.classList.remove("moving");
    });
  }
  $("which").addEventListener("change", (event) => open(+event.target.value));
  $("least").addEventListener("input", hideLow);
  $("rows").addEventListener("toggle", listRows);
  for (const name of ["inside", "border"]) $(`show-${name}`).addEventListener("change", toggle);
  new ResizeObserver(() => (fitted ? whole() : place())).observe(stage);
  open(0);
})();
