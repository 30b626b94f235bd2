'use strict';
// Numbers and times in words, for all pages. Times are those of the browser.
(() => {
  const two = n => String(n).padStart(2, '0');
  const day = d => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  const time = d => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  const words = window.cascadeWords = {
    // Seconds.
    duration(s) {
      if (!(s >= 0) || s === Infinity) return '?';
      if (s < 0.9995) return s > 0 && s < 0.0005 ? '<1 ms' : `${Math.round(s * 1000)} ms`;
      if (s < 59.95) return `${s.toFixed(1)} s`;
      const pairs = [[60, 1, 'min', 's'], [3600, 60, 'h', 'min'], [86400, 3600, 'd', 'h']];
      const [large, small, one, other] = pairs.find(([l, m], i) => i === 2 || Math.round(s / m) * m < pairs[i + 1][0]);
      const total = Math.round(s / small), per = large / small, many = Math.floor(total / per), few = total % per;
      return few ? `${many} ${one} ${few} ${other}` : `${many} ${one}`;
    },
    // Moments are seconds since the epoch. The time of day says no date, so that is there if that is another than that of *dayOf*.
    clock(t, dayOf) {
      const d = new Date(t * 1000);
      return dayOf && day(d) !== day(new Date(dayOf * 1000)) ? words.moment(t) : time(d);
    },
    moment(t) { const d = new Date(t * 1000); return `${day(d)} ${time(d)}`; },
    // Where these times are right.
    zone(t) {
      const minutes = -new Date(t * 1000).getTimezoneOffset(), all = Math.abs(minutes);
      if (!minutes) return 'UTC';
      return `UTC${minutes < 0 ? '-' : '+'}${Math.floor(all / 60)}${all % 60 ? `:${two(all % 60)}` : ''}`;
    },
    count: n => String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f'),
    counted: (n, noun) => `${words.count(n)} ${noun}${n === 1 ? '' : 's'}`,
  };
})();
