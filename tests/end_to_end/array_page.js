/** Creates at noon `hass` with panels, of which the last three have a warning, a problem and no data, and the card. */
({ count, admin, language, config, arrangement, statistics, history, report }) => {
  const panels = [];
  const states = {};
  const NOON = Date.parse("2026-06-21T12:30");
  Date.now = () => NOON;
  window.calls = [];
  window.opened = [];
  const SLOT = 300000;
  const minutesOf = (time) => new Date(time).getHours() * 60 + new Date(time).getMinutes();
  /** Return the power of a panel at a minute of the day: one of 17 is shaded. */
  const powerOf = (at, minutes) => {
    const sun = Math.max(0, Math.sin(((minutes / 60 - 6) / 14) * Math.PI));
    return Math.round(340 * sun * (0.82 + 0.18 * Math.sin(at * 1.7) ** 2) * (at % 17 === 5 ? 0.55 : 1));
  };
  const set = (id, state, attributes = {}) => {
    states[id] = { entity_id: id, state: String(state), attributes };
  };
  for (let at = 0; at < count; at++) {
    const serial = String(482243030000 + at * 7);
    const power = `sensor.inverter_${serial}`;
    const [energy, status, problem] = [`${power}_energy_today`, `${power}_status`, `binary_sensor.inverter_${serial}_problem`];
    panels.push({ serial, name: `Inverter ${serial}`, device_id: serial, max_power: 349, power, energy: report ? null : energy, status, problem, last_reported: null });
    const noon = count > 2 && at === count - 2 ? 0 : powerOf(at, 12.5 * 60);
    set(power, at === count - 1 ? "unavailable" : noon, { unit_of_measurement: "W" });
    set(energy, at === count - 1 ? "unavailable" : Math.round(powerOf(at, 12.5 * 60) * 4.1), { unit_of_measurement: "Wh" });
    set(status, at === count - 3 ? "over_temperature" : "normal");
    set(problem, at === count - 2 ? "on" : "off", { reason: at === count - 2 ? "not_producing" : null });
  }
  const meansOf = (id, start, end) => {
    const at = panels.findIndex((panel) => panel.power === id);
    const rows = [];
    for (let time = start; time + SLOT <= end; time += SLOT) {
      rows.push({ start: time, end: time + SLOT, mean: powerOf(at, minutesOf(time)) });
    }
    return rows;
  };
  const answers = {
    call_service: () => ({ response: { panels: report } }),
    "enphase_envoy/array/get": () => ({
      entry_id: "entry", title: "Envoy 1234", arrangement: window.stored ?? arrangement, roof_problem: null, panels,
    }),
    "enphase_envoy/array/set": (message) => {
      window.stored = JSON.parse(JSON.stringify(message.arrangement));
      return null;
    },
    "recorder/statistics_during_period": (message) => {
      const end = Math.min(Date.now(), Date.parse(message.end_time));
      const ids = statistics ? message.statistic_ids : [];
      return Object.fromEntries(ids.map((id) => [id, meansOf(id, Date.parse(message.start_time), end)]));
    },
    "history/history_during_period": (message) => {
      const start = Date.parse(message.start_time) / 1000;
      return Object.fromEntries((history ? message.entity_ids : []).map((id) => [id, [{ s: "0", lu: start }, { s: "123", lu: start + 3 * 3600 }]]));
    },
  };
  window.hass = {
    states,
    language,
    locale: { language, time_zone: "local" },
    config: { time_zone: "UTC" },
    user: { is_admin: admin },
    services: report ? { enphase_envoy: { panel_report: {} } } : {},
    formatEntityState: (state) => ({ normal: "Normal", over_temperature: "Too hot" })[state.state] ?? state.state,
    callWS: async (message) => {
      window.calls.push(message);
      return answers[message.type](message);
    },
  };
  window.hass.connection = {
    // As `subscribed` the test sends what another user stores.
    subscribeMessage: async (callback, message) => {
      window.calls.push(message);
      window.subscribed = callback;
      return () => (window.subscribed = null);
    },
  };
  // Observes the panels of a card; what it returns returns the writes since it was called last.
  window.observePanels = (card) => {
    const records = [];
    const observer = new MutationObserver((all) => records.push(...all));
    observer.observe(card.shadowRoot.querySelector(".arrays"),
      { subtree: true, attributes: true, characterData: true, childList: true });
    return () => {
      records.push(...observer.takeRecords());
      return records.splice(0).map(({ target, attributeName }) => {
        const serial = (target.closest ? target : target.parentElement).closest(".panel")?.dataset.serial;
        return { serial, attributeName, place: `${serial} ${target.nodeName} ${target.className?.baseVal} ${attributeName}` };
        // The sum of an array is not part of a panel.
      }).filter(({ serial }) => serial);
    };
  };
  window.stored = null;
  window.create = () => {
    document.querySelector("enphase-array-card")?.remove();
    const card = document.createElement("enphase-array-card");
    card.setConfig(config);
    card.hass = window.hass;
    card.addEventListener("hass-more-info", (event) => window.opened.push(event.detail.entityId));
    document.body.append(card);
  };
  window.create();
}
