// Charts by hand: SVG that stretches for the shapes, HTML over it for the words, so that text is never squeezed.
import { h, number, duration, hourMinute, percent } from './ui.js';

const MINUTE = 60_000;

/** The last `count` minutes up to `now`, with what is known of each; the rest is empty. */
export function lastMinutes(points, now, count = 60) {
  const known = new Map(points.map((point) => [Math.floor(Date.parse(point.at) / MINUTE), point]));
  const last = Math.floor(now / MINUTE);
  return Array.from({ length: count }, (_, index) => {
    const at = last - count + 1 + index;
    return { ...known.get(at), at: new Date(at * MINUTE).toISOString() };
  });
}

/** The next round number, which has a round half. */
export function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

function frame(label, top, format, shapes, { marks = [], ends = [], points, height = 'tall' }) {
  const percentTop = (value) => `${100 - (value / top) * 100}%`;
  return h('div', { class: `chart ${height}` },
    h('div', { class: 'plot' },
      h('span', { class: 'tick', style: { top: '0' } }, format(top)),
      h('span', { class: 'tick', style: { top: '50%' } }, format(top / 2)),
      h('svg', { viewBox: '0 0 600 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
        [0, 50, 100].map((y) => h('line', { class: 'grid', x1: 0, x2: 600, y1: y, y2: y, 'vector-effect': 'non-scaling-stroke' })),
        shapes),
      ends.map((end) => h('span', { class: `end ${end.class}`, style: { top: percentTop(end.value) } }, end.text)),
      marks.map((mark) => h('span', { class: 'mark', style: { left: `${mark.x * 100}%` }, title: mark.text }))),
    h('div', { class: 'axis', 'aria-hidden': 'true' },
      h('span', {}, hourMinute(points[0].at)), h('span', {}, hourMinute(points[Math.floor(points.length / 2)].at)), h('span', {}, 'now')));
}

/** Succeeded and failed by minute, one on the other. */
export function outcomeChart(points, options = {}) {
  const top = ceiling(Math.max(4, ...points.map((point) => (point.succeeded || 0) + (point.failed || 0))));
  const slot = 600 / points.length;
  const shapes = points.map((point, index) => {
    const [good, bad] = [point.succeeded || 0, point.failed || 0];
    const bar = (value, base, name) => value > 0 && h('rect', {
      class: name, x: index * slot + slot * 0.1, width: slot * 0.8, y: 100 - ((base + value) / top) * 100, height: (value / top) * 100,
    });
    return h('g', {},
      h('title', { svg: true }, `${hourMinute(point.at)}  ${number(good)} succeeded, ${number(bad)} failed`),
      h('rect', { class: 'hit', x: index * slot, width: slot, y: 0, height: 100 }), bar(good, 0, 'good'), bar(bad, good, 'bad'));
  });
  const sum = (name) => points.reduce((total, point) => total + (point[name] || 0), 0);
  const label = `Requests by minute, last ${points.length} minutes: ${sum('succeeded')} succeeded, ${sum('failed')} failed`;
  return [
    h('ul', { class: 'legend' }, h('li', { class: 'good' }, `succeeded ${number(sum('succeeded'))}`), h('li', { class: 'bad' }, `failed ${number(sum('failed'))}`)),
    frame(label, top, number, shapes, { points, ...options }),
    dataTable('Requests by minute', ['Minute', 'Succeeded', 'Failed'], points.filter((point) => point.succeeded || point.failed)
      .map((point) => [hourMinute(point.at), number(point.succeeded), number(point.failed)])),
  ];
}

/** Lines that end in their names. `series`: {name, class, value(point)}; a gap where there is no value. */
export function lineChart(points, series, { label, format = duration, least = 0, ...options }) {
  const values = series.flatMap(({ value }) => points.map(value)).filter((value) => value !== null && value !== undefined);
  if (!values.length) return h('p', { class: 'empty' }, 'No values in the last hour.');
  const top = ceiling(Math.max(least, ...values));
  const x = (index) => ((index + 0.5) / points.length) * 600;
  const y = (value) => 100 - (value / top) * 100;
  const shapes = series.map(({ class: name, value }) => {
    const runs = [];
    points.forEach((point, index) => {
      const at = value(point);
      if (at === null || at === undefined) { runs.push([]); return; }
      if (!runs.length) runs.push([]);
      runs.at(-1).push([x(index), y(at)]);
    });
    return runs.filter((run) => run.length).map((run) => run.length === 1
      ? h('line', { class: `line ${name}`, x1: run[0][0] - 3, x2: run[0][0] + 3, y1: run[0][1], y2: run[0][1], 'vector-effect': 'non-scaling-stroke' })
      : h('polyline', { class: `line ${name}`, points: run.map((pair) => pair.map((place) => place.toFixed(1)).join(',')).join(' '), 'vector-effect': 'non-scaling-stroke' }));
  });
  const hits = points.map((point, index) => h('g', {},
    h('title', { svg: true }, `${hourMinute(point.at)}  ${series.map(({ name, value }) => `${name} ${format(value(point))}`).join(', ')}`),
    h('rect', { class: 'hit', x: x(index) - 300 / points.length, width: 600 / points.length, y: 0, height: 100 })));
  const last = series.map(({ name, class: look, value }) => {
    const at = points.map(value).findLast((candidate) => candidate !== null && candidate !== undefined);
    return { value: at ?? 0, class: look, text: name, exact: format(at) };
  });
  return [
    h('ul', { class: 'legend' }, last.map((end) => h('li', { class: end.class }, `${end.text} ${end.exact}`))),
    frame(`${label}: latest ${last.map((end) => `${end.text} ${end.exact}`).join(', ')}`, top, format, [shapes, hits], { points, ...options }),
    dataTable(label, ['Minute', ...series.map(({ name }) => name)], points.filter((point) => series.some(({ value }) => value(point) != null))
      .map((point) => [hourMinute(point.at), ...series.map(({ value }) => format(value(point)))])),
  ];
}

/** A line without axes, as wide as its place; beside it stands the number. */
export function spark(values, label, name = '') {
  const top = Math.max(1e-9, ...values.filter((value) => value != null));
  const points = values.map((value, index) => value == null ? null : `${((index / Math.max(1, values.length - 1)) * 100).toFixed(1)},${(28 - (value / top) * 25).toFixed(1)}`).filter(Boolean);
  return h('svg', { class: `spark ${name}`, viewBox: '0 0 100 30', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    points.length > 1 && h('polygon', { class: 'area', points: `${points[0].split(',')[0]},30 ${points.join(' ')} ${points.at(-1).split(',')[0]},30` }),
    points.length > 1 && h('polyline', { points: points.join(' '), 'vector-effect': 'non-scaling-stroke' }));
}

/** Words and their counts as bars. `rows`: {name, count, note, class}. */
export function bars(label, rows) {
  const top = Math.max(1, ...rows.map((row) => row.count));
  const total = rows.reduce((sum, row) => sum + row.count, 0);
  return h('ul', { class: 'bars', 'aria-label': label }, rows.map((row) => h('li', { 'data-key': row.name },
    h('span', { class: 'name' }, row.name),
    h('span', { class: 'track', 'aria-hidden': 'true' }, h('i', { class: row.class || 'bad', style: { width: `${(row.count / top) * 100}%` } })),
    h('span', { class: 'num' }, number(row.count)),
    h('span', { class: 'note' }, row.note ?? percent(row.count / total)))));
}

/** What state something was in over time. `spans`: {from, to (ms), state}. */
export function ribbon(label, spans, from, to) {
  /** From 0 to 1000. What is not closed is seen however short it was, and at the end too. */
  const place = (span) => {
    const [begin, end] = [Math.max(span.from, from), Math.min(span.to, to)].map((at) => ((at - from) / (to - from)) * 1000);
    const width = Math.max(span.state === 'CLOSED' ? 1.5 : 5, end - begin);
    return { x: Math.min(begin, 1000 - width), width };
  };
  return h('div', { class: 'ribbon-box' },
    h('svg', { class: 'ribbon', viewBox: '0 0 1000 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
      spans.map((span) => h('rect', {
        class: span.state.toLowerCase(), ...place(span), y: 0, height: 10,
      }, h('title', { svg: true }, `${span.state} from ${hourMinute(span.from)} to ${hourMinute(span.to)}`)))),
    h('div', { class: 'axis', 'aria-hidden': 'true' }, h('span', {}, hourMinute(from)), h('span', {}, 'now')));
}

/** The same as numbers, for who would rather read them. */
function dataTable(caption, heads, rows) {
  return h('details', { class: 'data' }, h('summary', {}, 'As a table'),
    h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': `${caption}, as a table` }, h('table', {}, h('caption', { class: 'sr' }, caption),
      h('thead', {}, h('tr', {}, heads.map((head, index) => h('th', { scope: 'col', class: index && 'num' }, head)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map((cell, index) => h('td', { class: index && 'num' }, cell))))))));
}
