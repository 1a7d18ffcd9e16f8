// The making of sandboxes: how many, how fast, how they fail, how many tries they take. Of the last hour.
import { h, number, percent, duration, panel, empty, words } from './ui.js';
import { lastMinutes, outcomeChart, lineChart, bars } from './charts.js';
import { failureTable } from './overview.js';
import { api } from './api.js';

export default {
  id: 'creations', title: 'Creation', icon: 'M10 4v12M4 10h12',
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  render({ overview, tenantName }) {
    const { total, minutes, kinds, tries, failures } = overview.creations;
    const points = lastMinutes(minutes, api.now());
    const all = total.succeeded + total.failed;
    const extra = tries.reduce((sum, row) => sum + (row.tries - 1) * (row.succeeded + row.failed), 0);
    const saved = tries.filter((row) => row.tries > 1).reduce((sum, row) => sum + row.succeeded, 0);
    return [
      h('div', { class: 'tiles', 'data-key': 'tiles' },
        tile('Succeeded', all ? percent(total.succeeded / all) : '–', `${number(total.succeeded)} of ${number(all)} requests`),
        tile('Failed', number(total.failed), `${number(total.failed5m)} in the last 5 minutes`, total.failed5m ? 'bad' : total.failed ? 'warn' : ''),
        tile('Saved by a retry', number(saved), `${number(extra)} further tries were needed`),
        tile('Fell back', number(total.fellBack), 'got the default template'),
        tile('99th percentile', duration(total.latencyMs?.p99), `median ${duration(total.latencyMs?.p50)}, 95th ${duration(total.latencyMs?.p95)}`)),
      panel('Requests by minute', { key: 'outcomes', note: overview.creations.isTruncated ? 'the newest 20 000 alone' : null }, outcomeChart(points)),
      panel('Time to sandbox', { key: 'latency', note: 'of requests that succeeded, retries included' }, lineChart(points, [
        { name: 'median', class: 'p50', value: (point) => point.latencyMs?.p50 },
        { name: '95th', class: 'p95', value: (point) => point.latencyMs?.p95 },
        { name: '99th', class: 'p99', value: (point) => point.latencyMs?.p99 },
      ], { label: 'Time to sandbox by minute' })),
      h('div', { class: 'columns', 'data-key': 'kinds' },
        panel('Failures by kind', { class: 'grow1' }, kinds.length
          ? bars('Failures by kind, last hour', kinds.map((kind) => ({ name: words(kind.kind), count: kind.count, note: `${number(kind.count5m)} in 5 min` })))
          : empty('No failures in the last hour.')),
        panel('Tries that it took', { class: 'grow1' }, tries.length
          ? bars('Requests by tries', tries.map((row) => ({ name: row.tries >= 5 ? '5 or more' : row.tries === 0 ? 'none' : String(row.tries), count: row.succeeded + row.failed, class: 'good', note: row.failed ? `${number(row.failed)} failed` : '' })))
          : empty('No requests in the last hour.'))),
      panel('Latest failures', { key: 'failures' }, failureTable(failures, overview.scope === 'fleet', tenantName)),
    ];
  },
};

const tile = (label, value, detail, level) => h('div', { class: ['tile', level], 'data-key': label }, h('h2', { class: 'label' }, label), h('p', { class: 'value' }, value), h('p', { class: 'note' }, detail));
