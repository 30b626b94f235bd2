'use strict';
// The list of runs: filtered here, and told anew whenever it has changed.
(() => {
  const find = document.getElementById('find');
  const body = document.getElementById('runs');
  const none = document.getElementById('none');
  const statuses = document.getElementById('statuses');
  const connection = document.getElementById('connection');
  let runs = JSON.parse(document.getElementById('data').textContent).runs;
  let status = '';

  const cell = (text, kind = '') => {
    const made = document.createElement('td');
    made.textContent = text;
    made.className = kind;
    return made;
  };
  const { duration, moment, zone, count } = window.cascadeWords;
  const nodes = (counts) => {
    const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
    const others = Object.entries(counts).filter(([name]) => name !== 'succeeded').map(([name, number]) => `${count(number)} ${name === 'handled' ? 'failed (handled)' : name}`);
    return [count(total), ...others].join(', ');
  };

  function row(run) {
    const made = document.createElement('tr');
    made.dataset.run = run.id;
    const link = document.createElement('a');
    link.href = `/run?id=${encodeURIComponent(run.id)}`;
    link.textContent = run.id;
    const name = cell('');
    name.append(link);
    const state = cell('');
    const mark = document.createElement('span');
    mark.className = `status ${run.status}`;
    mark.textContent = run.status;
    state.append(mark);
    const begun = cell('');
    const time = document.createElement('time');
    time.dateTime = new Date(run.created * 1000).toISOString();
    time.textContent = `${moment(run.created)} ${zone(run.created)}`;
    begun.append(time);
    const flow = cell(run.flow.join(', '));
    if (run.error) {
      const error = document.createElement('div');
      error.className = run.status === 'failed' ? 'error' : 'runs-note';
      error.textContent = run.error;
      flow.append(error);
    }
    made.append(name, state, begun, cell(duration(run.ended - run.created), 'number'), cell(nodes(run.counts)), flow);
    return made;
  }

  const isWanted = (run) => {
    const words = find.value.trim().toLowerCase();
    const text = [run.id, ...run.flow, run.error || ''].join('\n').toLowerCase();
    return (!status || run.status === status) && (!words || text.includes(words));
  };

  function showStatuses() {
    const counts = new Map();
    for (const run of runs) counts.set(run.status, (counts.get(run.status) || 0) + 1);
    const chips = [['', `all ${runs.length}`], ...[...counts].sort().map(([name, count]) => [name, `${name} ${count}`])];
    statuses.replaceChildren(...chips.map(([name, words]) => {
      const chip = document.createElement('button');
      chip.type = 'button';
      chip.dataset.status = name || 'all';
      chip.textContent = words;
      chip.setAttribute('aria-pressed', String(name === status));
      chip.addEventListener('click', () => { status = name; show(); });
      return chip;
    }));
  }

  function show() {
    showStatuses();
    const wanted = runs.filter(isWanted);
    body.replaceChildren(...wanted.map(row));
    none.hidden = wanted.length > 0;
  }

  find.addEventListener('input', show);
  show();
  const stream = new EventSource('/updates');
  let why = '';
  stream.onopen = () => { if (!why) connection.textContent = 'live'; };
  stream.onerror = () => { connection.textContent = why || 'no connection'; };
  stream.addEventListener('runs', (event) => {
    runs = JSON.parse(event.data).runs;
    why = '';
    connection.textContent = 'live';
    show();
  });
  // The stream ends after this, and the browser asks again by itself.
  stream.addEventListener('lost', (event) => { why = connection.textContent = JSON.parse(event.data).why; });
})();
