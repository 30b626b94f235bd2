'use strict';
// The live part of the page of a run: updates come as server-sent events, and what is pressed is posted.
(() => {
  const page = window.cascadePage;
  const settings = page.settings;
  const may = new Set(settings.actions);
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, '');
      else if (value !== false && value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };

  // -- what is said of the connection, and of what was pressed
  const connection = element('span', {id: 'connection', class: 'live-connection', 'data-state': 'connecting'}, 'connecting');
  const said = element('span', {id: 'said', class: 'live-said', role: 'status'});
  const connected = (state, words) => {
    connection.dataset.state = state;
    connection.textContent = words;
  };
  const tell = (words, isBad = false) => {
    said.textContent = words;
    said.classList.toggle('bad', isBad);
  };

  async function act(action, given = {}) {
    tell('…');
    try {
      const answer = await fetch(settings.act, {
        method: 'POST',
        headers: {[settings.header]: settings.csrf, 'content-type': 'application/json'},
        body: JSON.stringify({action, ...given}),
      });
      const reply = await answer.json();
      tell(reply.said || reply.error, !answer.ok);
      return answer.ok;
    } catch {
      tell('no answer: the run may have ended', true);
      return false;
    }
  }

  // -- what can be pressed
  const button = (id, words, pressed, kind = '') => element('button', {id, type: 'button', class: kind, onclick: pressed}, words);
  const pause = button('pause', 'Pause', () => act('pause'));
  const resume = button('resume', 'Resume', () => act('resume'), 'primary');
  resume.hidden = true;

  const concurrency = element('input', {id: 'concurrency', type: 'number', min: '1', step: '1', placeholder: 'any', 'aria-label': 'attempts at a time'});
  const rate = element('input', {id: 'rate', type: 'text', placeholder: 'any, such as 10/s', 'aria-label': 'how fast attempts start', size: '14'});
  const limit = element('form', {id: 'limits', class: 'live-form', onsubmit: (event) => {
    event.preventDefault();
    act('limit', {concurrency: concurrency.value ? Number(concurrency.value) : null, rate: rate.value.trim() || null});
  }}, element('label', {}, 'At a time ', concurrency), element('label', {}, 'Rate ', rate), element('button', {id: 'limit', type: 'submit'}, 'Limit'));

  // Pressed twice on purpose: what is cancelled does not come back.
  const sure = (id, words, question, confirmed) => {
    const first = button(id, words, () => { first.hidden = true; asked.hidden = false; asked.querySelector('button').focus(); }, 'danger');
    const asked = element('span', {class: 'live-sure', hidden: true}, question,
      button(`${id}-yes`, 'Yes', () => { back(); confirmed(); }, 'danger'), button(`${id}-no`, 'No', () => { back(); first.focus(); }));
    const back = () => { first.hidden = false; asked.hidden = true; };
    return element('span', {}, first, asked);
  };
  const cancel = sure('cancel', 'Cancel the run', 'Cancel the run?', () => act('cancel'));

  let chosen = null;
  const cancelNode = button('cancel-node', '', () => chosen && act('cancel_node', {node: chosen}), 'danger');
  cancelNode.hidden = true;
  const chose = page.onSelect;
  page.onSelect = (node) => {
    if (chose) chose(node);
    chosen = node;
    cancelNode.hidden = !node || !may.has('cancel_node') || isOver;
    cancelNode.textContent = node ? `Cancel ${node}` : '';
  };

  const rules = element('div', {id: 'live-rules', class: 'live-rules'});
  const signals = element('div', {id: 'live-signals', class: 'live-signals'});
  const bar = element('div', {class: 'live-bar'});
  if (settings.list) bar.append(element('a', {href: settings.list, id: 'all-runs'}, 'All runs'));
  bar.append(connection);
  if (may.has('pause')) bar.append(pause, resume);
  if (may.has('limit')) bar.append(limit);
  if (may.has('cancel')) bar.append(cancel);
  bar.append(cancelNode, said);
  page.slots.controls.append(bar, rules, signals);
  const note = element('p', {id: 'note', class: 'live-note'});
  page.slots.controls.append(note);
  if (settings.whyNot) page.slots.controls.append(element('p', {id: 'why-not', class: 'live-note'}, settings.whyNot));

  // -- what is waited for
  const forms = new Map();
  // Where the names of signals are not known, they are asked for.
  function showAnySignal() {
    if (forms.has('') || !may.has('send')) return;
    const name = element('input', {type: 'text', 'aria-label': 'name of a signal', placeholder: 'name', required: true});
    const value = element('input', {type: 'text', 'aria-label': 'its value', placeholder: 'value'});
    const form = element('form', {class: 'live-form', id: 'any-signal', onsubmit: (event) => {
      event.preventDefault();
      act('send', {name: name.value, value: value.value});
    }}, element('label', {}, 'Signal ', name), value, element('button', {type: 'submit'}, 'Send'));
    forms.set('', form);
    signals.append(form);
  }

  function showSignals(wanted) {
    for (const [name, form] of forms) if (!wanted.some((one) => one.name === name)) { form.remove(); forms.delete(name); }
    for (const one of wanted) {
      if (forms.has(one.name)) continue;
      const value = element('input', {type: 'text', name: 'value', 'aria-label': `value of ${one.name}`, placeholder: one.type});
      const form = element('form', {class: 'live-form', 'data-signal': one.name, onsubmit: async (event) => {
        event.preventDefault();
        await act('send', {name: one.name, value: value.value});
      }}, element('label', {}, 'Signal ', element('b', {}, one.name), ' ', value), element('button', {type: 'submit', class: 'primary'}, 'Send'),
      element('span', {class: 'live-note'}, one.description));
      forms.set(one.name, form);
      if (may.has('send')) signals.append(form);
    }
  }

  const blocked = element('tbody', {id: 'blocked'});
  const more = element('p', {class: 'live-note'});
  const why = element('section', {hidden: true}, element('details', {class: 'live-why', id: 'why'},
    element('summary', {}, element('h2', {}, 'Why nodes do not run')),
    element('table', {}, element('thead', {}, element('tr', {}, element('th', {scope: 'col'}, 'Node'), element('th', {scope: 'col'}, 'Waits for'))), blocked), more));
  page.slots.afterTimeline.append(why);

  let isOver = false;
  function showControl(now) {
    isOver = isOver || now.over;
    pause.hidden = now.paused || isOver;
    resume.hidden = !now.paused || isOver;
    for (const one of [limit, cancel]) one.hidden = isOver;
    cancelNode.hidden = cancelNode.hidden || isOver;
    note.textContent = now.note || '';
    rules.textContent = now.rules.length ? `In force: ${now.rules.join('; ')}` : '';
    if (now.signals) showSignals(now.signals);
    else if (isOver) showSignals([]);
    else showAnySignal();
    why.hidden = !now.blocked.length;
    blocked.replaceChildren(...now.blocked.map((one) => element('tr', {'data-node': one.id},
      element('td', {}, one.label ? `${one.label} (${one.id})` : one.id), element('td', {}, one.why.join('; ')))));
    more.textContent = now.more_blocked ? 'and more' : '';
  }

  // -- updates
  const stream = new EventSource(settings.updates);
  stream.onopen = () => connected('live', 'live');
  stream.onerror = () => {
    const isGone = stream.readyState === EventSource.CLOSED;
    connected('lost', isGone ? 'not connected; open the page anew' : 'no connection; trying again');
  };
  // The stream ends after this, and the browser asks again by itself.
  stream.addEventListener('lost', (event) => { note.textContent = JSON.parse(event.data).why; });
  stream.addEventListener('changes', (event) => page.update(JSON.parse(event.data)));
  stream.addEventListener('control', (event) => showControl(JSON.parse(event.data)));
  stream.addEventListener('end', () => {
    stream.close();
    connected('ended', 'the run has ended, and this page with it');
  });
})();
