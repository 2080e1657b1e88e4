"use strict";
// Draws what the page holds as JSON. Colours come from the page's theme, so that light and dark both read well.
const held = JSON.parse(document.getElementById("held").textContent);
const byId = (name) => document.getElementById(name);
const theme = () => {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), quiet: of("--quiet"), grid: of("--grid"), paper: of("--paper"), kept: of("--kept"), gone: of("--gone") };
};
// Named one by one: Plotly's own choice has buttons that lead off the page.
const buttons = [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]];
const settings = { displaylogo: false, responsive: true, modeBarButtons: buttons };
const narrow = matchMedia("(max-width: 50rem)");

function clothed(layout) {
  // Names of the theme's colours stand in the figures where colours belong.
  const now = theme();
  const text = JSON.stringify(layout).replace(/"var\(--(\w+)\)"/g, (_, name) => JSON.stringify(now[name]));
  return JSON.parse(text);
}

function drawTradeoff() {
  const figure = held.tradeoffs[byId("tradeoff-data").value][byId("tradeoff-measure").value];
  byId("tradeoff-note").textContent = figure ? figure.note : "No model has both on this data set.";
  if (!figure) {
    Plotly.react("tradeoff", [], clothed(held.axes), settings);
    return;
  }
  const layout = { ...figure.figure.layout };
  const names = narrow.matches ? figure.narrow : figure.wide;
  layout.annotations = [...(layout.annotations || []), ...names.map((name) => ({ ...held.name, ...name }))];
  Plotly.react("tradeoff", clothed(figure.figure.data), clothed(layout), settings);
}

function drawScatter() {
  const data = held.datasets[+byId("scatter-data").value];
  const cloud = data.clouds[byId("scatter-model").value];
  const box = byId("scatter-note");
  if (!cloud) {
    box.textContent = "This model has no scores on this data set.";
    Plotly.react("scatter", [], clothed(held.axes), settings);
    return;
  }
  const groups = [...new Set(cloud.at.map((k) => data.group[k]))].sort((a, b) => a - b);
  const std = cloud.at.map((k) => data.std[k]);
  const marks = {
    type: "scatter", mode: "markers", showlegend: false, x: cloud.score, y: cloud.at.map((k) => data.mos[k]),
    customdata: cloud.at.map((k, place) => [data.file[k], data.names[data.group[k]], data.shown[k], cloud.shown[place]]),
    marker: {
      size: cloud.at.length > 1000 ? 4 : 7, opacity: cloud.at.length > 1000 ? 0.45 : 0.8, line: { width: 0 },
      color: cloud.at.map((k) => data.group[k]), cmin: groups[0], cmax: Math.max(groups[0] + 1, groups[groups.length - 1]),
      colorscale: held.scale,
    },
    hovertemplate: "%{customdata[0]}<br>%{customdata[1]}<br>score %{customdata[3]}<br>" + data.label + " %{customdata[2]}<extra></extra>",
  };
  if (cloud.at.length <= 150 && std.some((value) => value !== null)) {
    marks.error_y = { type: "data", array: std, thickness: 0.6, width: 0, color: "var(--grid)" };
  }
  const traces = [marks];
  if (cloud.curve) {
    traces.push({
      type: "scatter", mode: "lines", x: cloud.curve[0], y: cloud.curve[1], hoverinfo: "skip", showlegend: false,
      line: { color: "var(--ink)", width: 2 },
    });
  }
  const layout = JSON.parse(JSON.stringify(held.axes));
  layout.xaxis.title = { text: "Score of " + cloud.model };
  layout.yaxis.title = { text: data.label };
  Plotly.react("scatter", clothed(traces), clothed(layout), settings);
  box.textContent = cloud.note;
}

function drawAll() {
  if (byId("tradeoff")) drawTradeoff();
  if (byId("scatter")) drawScatter();
}
document.querySelectorAll("select").forEach((box) => box.addEventListener("change", drawAll));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
narrow.addEventListener("change", drawAll);
drawAll();
