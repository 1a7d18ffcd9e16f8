// Alerts that fire, their rules, and where they are told.
import { h, number, when, since, panel, table, words } from './ui.js';
import { api } from './api.js';

const SEVERITY = { critical: 'bad', warning: 'warn' };

export default {
  id: 'alerts', title: 'Alerts', icon: 'M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13zM8.5 17.5h3',
  every: 3,
  /** Shown where the service has such a route. */
  probe: '/v1/alerts?limit=1',
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  async load(context) {
    const [alerts, rules, channels] = await Promise.all(['alerts', 'alert-rules', 'alert-channels'].map((route) => api.optional(`/v1/${route}`, { tenant: context.tenant })));
    Object.assign(context.data, { alertList: alerts?.items, rules: rules?.items, channels: channels?.items });
  },

  render({ data }) {
    return [
      panel('Alerts', { key: 'alerts' }, table('Alerts', [
        { name: 'State', head: true, cell: (row) => h('span', { class: `chip ${row.state === 'firing' ? SEVERITY[row.severity] || 'bad' : row.state === 'pending' ? 'warn' : ''}` }, words(row.state)) },
        { name: 'What', class: 'text', cell: (row) => row.summary || row.title || words(row.rule) },
        { name: 'Severity', wide: true, cell: (row) => words(row.severity) },
        { name: 'Since', cell: (row) => since(row.firingAt || row.startedAt || row.since || row.pendingAt) },
        { name: 'Resolved', wide: true, cell: (row) => row.resolvedAt ? when(row.resolvedAt) : '–' },
      ], data.alertList || [], { stack: true, keyOf: (row) => String(row.id), none: 'None fires. Those that do will be here, the worst first.' })),
      data.rules && panel('Rules', { key: 'rules' }, table('Rules', [
        { name: 'Rule', head: true, cell: (row) => words(row.name || row.id) },
        { name: 'Fires when', class: 'text', cell: (row) => row.description || row.condition || '' },
        { name: 'Severity', cell: (row) => words(row.severity) },
        { name: 'Limit', numeric: true, wide: true, cell: (row) => row.threshold ?? '' },
        { name: '', cell: (row) => row.enabled === false ? h('span', { class: 'chip' }, 'off') : h('span', { class: 'chip ok' }, 'on') },
      ], data.rules, { stack: true, keyOf: (row) => String(row.id || row.name), none: 'No rules.' })),
      data.channels && panel('Channels', { key: 'channels' }, table('Channels', [
        { name: 'Channel', head: true, cell: (row) => row.name || row.id },
        { name: 'Kind', cell: (row) => words(row.kind || row.type) },
        { name: '', cell: (row) => row.enabled === false ? h('span', { class: 'chip' }, 'off') : h('span', { class: 'chip ok' }, 'on') },
      ], data.channels, { keyOf: (row) => String(row.id || row.name), none: 'Nobody is told yet. POST /v1/alert-channels makes one.' })),
    ];
  },
};
