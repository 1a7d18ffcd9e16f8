// Alerts that fire, what may fire, and where it is told.
import { h, duration, number, since, panel, table, words, ask } from './ui.js';
import { api } from './api.js';

const SEVERITY = { critical: 'bad', warning: 'warn' };
/** Of the service's own rules. */
const UNITS = { 'breaker-open': 's', 'breaker-override': 's', 'quota-critical': '%', 'quota-warning': '%', 'critical-failures': '%' };
const FLEET = '00000000-0000-0000-0000-000000000000';

export default {
  id: 'alerts', title: 'Alerts', icon: 'M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13zM8.5 17.5h3',
  every: 3,
  /** Shown where the service has such a route. */
  probe: '/v1/alerts?limit=1',
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  async load(context) {
    const fleet = context.overview.scope === 'fleet';
    const [alerts, rules, channels] = await Promise.all([`alerts?limit=100${fleet ? '&allTenants=true' : ''}`, 'alert-rules', 'alert-channels']
      .map((route) => api.optional(`/v1/${route}`, { tenant: context.tenant })));
    Object.assign(context.data, { alertList: alerts?.items, rules: rules?.items, channels: channels?.items });
  },

  render(context) {
    const { data } = context;
    const fleet = context.overview.scope === 'fleet';
    // Of the fleet's rules those of tenants are not.
    const unit = (alert) => data.rules?.find((rule) => rule.name === alert.rule)?.unit ?? UNITS[alert.rule];
    const list = [...(data.alertList || [])].sort((one, other) => rank(one) - rank(other));
    return [
      panel('Alerts', { key: 'alerts', note: 'those that fire first' }, table('Alerts', [
        { name: 'State', head: true, cell: (row) => h('span', { class: `chip ${row.state === 'firing' ? SEVERITY[row.severity] || 'bad' : row.state === 'pending' ? 'warn' : ''}` }, words(row.state)) },
        { name: 'Rule', cell: (row) => h('b', {}, sayRule(row.rule)) },
        fleet && { name: 'Tenant', cell: (row) => row.tenantId === FLEET ? 'fleet' : context.tenantName(row.tenantId) },
        { name: 'Of', class: 'text', cell: (row) => sayLabels(row.labels) },
        { name: 'Value', numeric: true, cell: (row) => row.value === null || row.value === undefined ? '–' : `${amount(row.value, unit(row))}, limit ${amount(row.threshold, unit(row))}` },
        { name: 'Since', cell: (row) => row.resolvedAt ? ['resolved ', since(row.resolvedAt)] : since(row.firedAt || row.startedAt) },
        { name: 'Told', numeric: true, wide: true, cell: (row) => number(row.notifications) },
        { name: '', cell: (row) => marks(row, context) },
      ].filter(Boolean), list, { stack: true, keyOf: (row) => row.id, none: 'None fires. Those that do will be here, the worst first.' })),
      data.rules && panel('Rules', { key: 'rules' }, table('Rules', [
        { name: 'Rule', head: true, cell: (row) => sayRule(row.name) },
        { name: 'Fires', class: 'text', cell: (row) => `${words(row.kind)} ${words(row.comparison)} ${amount(row.threshold, row.unit)}${row.windowS ? ` in ${duration(row.windowS * 1000)}` : ''}${row.minVolume ? `, of at least ${number(row.minVolume)}` : ''}` },
        { name: 'Severity', cell: (row) => h('span', { class: `chip ${SEVERITY[row.severity] || ''}` }, words(row.severity)) },
        { name: '', cell: (row) => row.enabled ? h('span', { class: 'chip ok' }, 'on') : h('span', { class: 'chip' }, 'off') },
      ], data.rules, { stack: true, keyOf: (row) => row.name, none: 'No rules.' })),
      data.channels && panel('Channels', { key: 'channels' }, table('Channels', [
        { name: 'Channel', head: true, cell: (row) => row.name },
        { name: 'Kind', cell: (row) => `${words(row.kind)}, ${row.host}` },
        { name: 'From', cell: (row) => words(row.minSeverity) },
        { name: 'Last told', cell: (row) => row.lastDeliveredAt ? since(row.lastDeliveredAt) : 'never' },
        { name: '', cell: (row) => [row.enabled ? h('span', { class: 'chip ok' }, 'on') : h('span', { class: 'chip bad', title: row.disabledReason || '' }, 'off'), context.mayAdminister && h('button', { type: 'button', 'data-act': 'test', 'data-id': row.id, 'aria-label': `Send a test to ${row.name}` }, 'Test')] },
      ], data.channels, { stack: true, keyOf: (row) => row.id, none: 'Nobody is told yet. POST /v1/alert-channels makes a channel.' })),
    ];
  },

  acts: {
    acknowledge: async (element, context) => {
      const alert = find(element, context);
      const answers = alert && await ask({ title: `Acknowledge ${sayRule(alert.rule)}`, effect: 'It is told no more, until it is over.', action: 'Acknowledge', fields: [{ name: 'reason', label: 'Why (kept in the audit)', required: true }] });
      if (answers) await context.act('Acknowledged', () => api.send('POST', `/v1/alerts/${alert.id}/acknowledge`, { reason: answers.reason }, { tenant: owner(alert, context) }));
    },
    silence: async (element, context) => {
      const alert = find(element, context);
      const answers = alert && await ask({
        title: `Silence ${sayRule(alert.rule)}`, effect: `Nothing is told of ${sayLabels(alert.labels) || 'it'} until then.`, action: 'Silence',
        fields: [{ name: 'minutes', label: 'For', options: [['60', 'an hour'], ['240', '4 hours'], ['1440', 'a day']] }, { name: 'reason', label: 'Why (kept in the audit)', required: true }],
      });
      if (!answers) return;
      const endsAt = new Date(api.now() + Number(answers.minutes) * 60_000).toISOString();
      await context.act('Silenced', () => api.send('POST', `/v1/alerts/${alert.id}/silence`, { endsAt, reason: answers.reason }, { tenant: owner(alert, context) }));
    },
    test: (element, context) => context.act('A test is on its way', () => api.send('POST', `/v1/alert-channels/${element.dataset.id}/test`, {}, { tenant: context.tenant })),
  },
};

const rank = (alert) => ['firing', 'pending'].indexOf(alert.state) * 2 + 2 * (alert.resolvedAt ? 5 : 0) + (alert.severity === 'critical' ? 0 : 1);
const round = (value) => typeof value === 'number' ? number(Math.round(value * 10) / 10) : value ?? '';
/** With its unit: seconds, per cent, or a bare count. */
const amount = (value, unit) => unit === 's' ? duration(value * 1000) : `${round(value)}${unit === '%' ? '\u2009%' : ''}`;
export const sayRule = (rule) => words(String(rule ?? '').replaceAll('-', ' '));
export const sayLabels = (labels) => Object.entries(labels || {}).map(([name, value]) => name === 'windowS' ? `in ${duration(value * 1000)}` : `${name} ${value}`).join(', ');
const find = (element, context) => context.data.alertList?.find((alert) => alert.id === element.dataset.id);
const owner = (alert, context) => context.isOperator && alert.tenantId !== FLEET ? alert.tenantId : null;

function marks(alert, context) {
  return [
    alert.acknowledgedAt && h('span', { class: 'chip', title: alert.acknowledgedReason || '' }, 'acknowledged'),
    alert.silenced && h('span', { class: 'chip' }, 'silenced'), alert.inhibited && h('span', { class: 'chip' }, 'inhibited'),
    context.mayAdminister && alert.state === 'firing' && h('span', { class: 'buttons inline' },
      !alert.acknowledgedAt && h('button', { type: 'button', 'data-act': 'acknowledge', 'data-id': alert.id }, 'Acknowledge'),
      !alert.silenced && h('button', { type: 'button', 'data-act': 'silence', 'data-id': alert.id }, 'Silence')),
  ];
}
