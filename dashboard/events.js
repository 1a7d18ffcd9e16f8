// What happened, the newest first.
import { h, when, panel, table, words } from './ui.js';
import { api } from './api.js';

const NAMES = ['sandbox_create_start', 'sandbox_create_success', 'sandbox_create_failure', 'sandbox_create_critical_failure', 'sandbox_create_refused',
  'sandbox_health_check_ok', 'sandbox_health_check_failed', 'breaker_moved', 'rate_limit_denied', 'sandbox_lost', 'sandbox_reaped'];
let name = '';

export default {
  id: 'events', title: 'Events', icon: 'M5 5h10M5 10h10M5 15h6',
  every: 3,
  /** Shown where the service has such a route. */
  probe: '/v1/events?limit=1',
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  async load(context) {
    context.data.events = await api.optional(`/v1/events?limit=100${name ? `&event=${encodeURIComponent(name)}` : ''}`, { tenant: context.tenant });
  },

  render(context) {
    const fleet = context.overview.scope === 'fleet';
    return panel('Events', {
      note: 'the newest hundred',
      tools: h('label', { class: 'pick' }, 'Only ', h('select', { 'data-change': 'only', 'data-keep': true }, h('option', { value: '' }, 'all'), NAMES.map((one) => h('option', { value: one, selected: one === name }, words(one))))),
    }, table('Events', [
      { name: 'At', head: true, cell: (row) => when(row.storedAt) },
      { name: 'Event', cell: (row) => h('span', { class: `chip ${level(row)}` }, words(row.event)) },
      fleet && { name: 'Tenant', cell: (row) => context.tenantName(row.tenant) },
      { name: 'What', class: 'text', cell: (row) => facts(row) },
    ].filter(Boolean), context.data.events?.items || [], { stack: true, keyOf: (row) => row.id, none: 'Nothing happened yet.' }));
  },

  acts: {
    only: async (element, context) => { name = element.value; await context.reload(); },
  },
};

function level(row) {
  if (/failure|failed|lost|held_back/.test(row.event) || row.event === 'breaker_moved' && row.to === 'OPEN') return 'bad';
  return /denied|refused|reaped|breaker/.test(row.event) ? 'warn' : '';
}

const TOLD = new Set(['id', 'storedAt', 'event', 'tenant', 'timestamp', 'traceId']);
const facts = (row) => Object.entries(row).filter(([key, value]) => !TOLD.has(key) && value !== null && value !== '')
  .map(([key, value]) => h('span', { class: 'pair' }, h('span', { class: 'note' }, key), ' ', typeof value === 'object' ? JSON.stringify(value) : key === 'duration' ? `${value}\u2009ms` : String(value)));
