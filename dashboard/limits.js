// Rate limits: what is used of each quota, and since when it grows.
import { h, number, percent, duration, until, panel, table, empty, meter, hourMinute } from './ui.js';
import { lastMinutes, lineChart, bars } from './charts.js';
import { api } from './api.js';
import { fleetHint } from './tenants.js';

const WARN = 0.8;
const CRITICAL = 0.9;

export default {
  id: 'limits', title: 'Rate limits', icon: 'M4 15a7 7 0 1 1 12 0M10 12l3-4',
  every: 2,
  can: (scopes) => scopes.some((scope) => ['read', 'operator'].includes(scope)),

  async load(context) {
    if (context.overview.scope === 'fleet') return;
    const [limits, usage] = await Promise.all([
      api.get('/v1/rate-limits', { tenant: context.tenant }),
      api.get('/v1/usage?step=minute&top=8', { tenant: context.tenant }),
    ]);
    context.data.limits = limits;
    context.data.usage = usage;
  },

  render(context) {
    const { limits, usage } = context.data;
    if (context.overview.scope === 'fleet') {
      return [panel('Refused in the last hour', {}, h('p', { class: 'big' }, number(context.overview.denials.calls), h('span', { class: 'note' }, ' calls, of all tenants'))),
        fleetHint('Limits belong to tenants.', context, (line) => line.deniedCalls, 'refused')];
    }
    if (!limits) return h('p', { class: 'note' }, 'Reading');
    const rows = limits.items.flatMap((item) => rowsOf(item)).sort((one, other) => other.share - one.share);
    const points = usage ? lastMinutes(usage.points, api.now()) : [];
    // The roll-up is a moment behind: what it has not seen yet is no zero.
    const known = (point) => Date.parse(point.at) < Date.parse(usage.completeTo);
    return [
      panel('Use against quota', { key: 'quota', note: 'marks at 80 % and 90 %' }, table('Use against quota', [
        { name: 'Operation', head: true, cell: (row) => row.operation },
        { name: 'Limit', cell: (row) => `${number(row.limit)} in ${duration(row.windowMs)}` },
        { name: 'Use', class: 'grow', cell: (row) => meter(row.share, { label: `${row.operation}: ${number(row.count)} of ${number(row.limit)}`, marks: [WARN, CRITICAL], level: row.share > CRITICAL ? 'bad' : row.share >= WARN ? 'warn' : 'ok' }) },
        { name: 'Used', numeric: true, cell: (row) => `${number(row.count)}` },
        { name: 'Left', numeric: true, cell: (row) => number(row.remaining) },
        { name: '', cell: (row) => row.share >= 1 ? h('span', { class: 'chip bad' }, 'used up') : row.share > CRITICAL ? h('span', { class: 'chip bad' }, percent(row.share)) : row.share >= WARN ? h('span', { class: 'chip warn' }, percent(row.share)) : h('span', { class: 'note' }, percent(row.share)) },
        { name: 'Policy', wide: true, cell: (row) => h('span', { class: 'note' }, row.policy, row.shadow ? ' (shadow)' : '') },
      ], rows, { keyOf: (row) => `${row.operation} ${row.policy} ${row.windowMs}`, stack: true, none: 'No limit is set. Policies make limits: PUT /v1/policies/{operation}.' })),
      h('div', { class: 'columns', 'data-key': 'charts' },
        panel('Units by minute', { class: 'grow2', note: usage && `complete to ${hourMinute(usage.completeTo)}` },
          usage && lineChart(points, [
            { name: 'recorded', class: 'p50', value: (point) => known(point) ? point.units ?? 0 : null },
            { name: 'refused', class: 'bad', value: (point) => known(point) ? point.deniedUnits ?? 0 : null },
          ], { label: 'Units by minute', format: number, least: 4 })),
        panel('By operation, last hour', { class: 'grow1' }, usage?.top.length
          ? bars('Units by operation', usage.top.map((one) => ({ name: one.operation, count: one.units, class: 'good', note: one.deniedCalls ? `${number(one.deniedCalls)} refused` : '' })))
          : empty('Nothing was recorded in the last hour.'))),
    ];
  },
};

/** A row for each limit that applies to an operation. */
function rowsOf(item) {
  const limits = item.limits?.length ? item.limits : [item];
  return limits.filter((limit) => limit.limit !== null && limit.limit !== undefined).map((limit) => ({
    operation: item.operation, limit: limit.limit, count: limit.count, remaining: limit.remaining,
    windowMs: limit.windowMs, policy: limit.policy ?? item.policy ?? '', shadow: limit.mode === 'shadow',
    share: limit.limit > 0 ? limit.count / limit.limit : 1,
  }));
}
