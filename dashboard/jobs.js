// What the service does on a schedule, and the cleanup of records by hand.
import { h, number, plural, duration, since, until, panel, table, words, ask } from './ui.js';
import { api } from './api.js';

let cleaned = null;

export default {
  id: 'jobs', title: 'Jobs', icon: 'M10 5v5l3 2M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14z',
  every: 2,
  can: (scopes) => scopes.some((scope) => ['admin', 'operator'].includes(scope)),
  titleFor: (context) => context.isOperator ? 'Jobs' : 'Cleanup',

  async load(context) {
    if (context.isOperator) context.data.jobs = (await api.get('/v1/admin/jobs')).items;
  },

  render(context) {
    return [
      context.isOperator && panel('Scheduled jobs', { key: 'jobs', note: 'each run by one instance at a time' }, table('Scheduled jobs', [
        { name: 'Job', head: true, cell: (row) => row.name },
        { name: 'Last end', cell: (row) => outcome(row) },
        { name: 'Took', numeric: true, wide: true, cell: (row) => duration(row.durationMs) },
        { name: 'Next', cell: (row) => row.holder ? h('span', { class: 'chip ok' }, 'running') : until(row.nextRunAt, 'in a moment') },
        { name: 'Each', numeric: true, wide: true, cell: (row) => row.intervalS ? duration(row.intervalS * 1000) : '–' },
        { name: 'What it did', wide: true, class: 'text', cell: (row) => summary(row.detail) },
        { name: '', cell: (row) => h('button', { type: 'button', 'data-act': 'run', 'data-id': row.name, 'aria-label': `Run ${row.name} now` }, 'Run now') },
      ], context.data.jobs || [], { stack: true, keyOf: (row) => row.name, none: 'Reading' })),
      panel('Clean up records by hand', { key: 'cleanup' },
        h('p', {}, `Removes records ${context.isOperator && !context.tenant ? 'of all tenants ' : ''}that no answer can need any more, at most 500 stored rows a call. The scheduled job does the same each minute, without that cap.`),
        h('p', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', 'data-act': 'clean' }, 'Clean up')),
        cleaned && h('p', { role: 'status' }, `${plural(cleaned.deleted, 'row')} removed, which stood for ${plural(cleaned.requests, 'request')}. ${cleaned.hasMore ? 'There are more: call again.' : 'Nothing old is left.'}`)),
    ];
  },

  acts: {
    run: (element, context) => context.act(`${element.dataset.id} is due now`, () => api.send('POST', `/v1/admin/jobs/${encodeURIComponent(element.dataset.id)}/run`, {})),
    clean: async (element, context) => {
      const answers = await ask({ title: 'Clean up', effect: 'Removes records that are older than the longest window. Limits and statistics stay as they are.', action: 'Clean up' });
      if (answers) await context.act('Cleaned up', async () => { cleaned = await api.send('POST', '/v1/maintenance/cleanup', {}, { tenant: context.tenant }); });
    },
  },
};

function outcome(job) {
  if (!job.finishedAt) return h('span', { class: 'note' }, 'not yet');
  return [h('span', { class: `chip ${job.outcome === 'succeeded' ? 'ok' : 'bad'}` }, words(job.outcome)), ' ', since(job.finishedAt),
    job.failures > 0 && h('span', { class: 'failed' }, ` ${plural(job.failures, 'failure')} in a row`)];
}

function summary(detail) {
  const parts = Object.entries(detail || {});
  return parts.length ? parts.map(([name, value]) => `${name.replace(/([A-Z])/g, ' $1').toLowerCase()} ${typeof value === 'number' ? number(value) : value}`).join(', ') : h('span', { class: 'note' }, 'nothing to do');
}
