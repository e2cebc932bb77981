/**
 * Array card of the Enphase Envoy integration: the panels as they are on the roof.
 *
 * A plain web component: no build step, no libraries. Served and loaded by the integration (frontend/__init__.py).
 * Places are integers on a grid of a fifth of a panel's length: a panel in portrait is 3 wide and 5 high.
 */

const TEXTS = {
  en: {
    title: "Solar panels", power: "Power", energy: "Energy", health: "Health", edit: "Edit arrangement", save: "Save",
    cancel: "Cancel", rotate: "Rotate", add: "New array", automatic: "Automatic", export: "Export", import: "Import",
    remove: "Remove array", name: "Name", azimuth: "Azimuth", array: "Array", unplaced: "New panels", now: "Now",
    today: "Today", play: "Play the day", pause: "Pause", previous: "Previous day", next: "Next day", time: "Time",
    panels: "{n} panels", one: "1 panel", noPanels: "No panels found", noData: "No data", good: "Good", warning: "Warning",
    problem: "Problem", not_producing: "Does not produce", no_reports: "Does not report", degraded: "Produces less than before",
    share: "{n} of its neighbors", selected: "{n} selected", saved: "Arrangement saved", noHistory: "No history of this day",
    loading: "Loading…", failed: "Failed: {n}", invalid: "The file contains no arrangement", display: "Show at first",
    heading: "Title", percent: "% of neighbors", gateway: "Gateway", slider: "Show the slider of the day", noEntry: "The integration is not set up",
    help: "Drag panels, or move them with Shift and the arrow keys. R rotates, Space selects. Drag beside the panels to select several.",
  },
  de: {
    title: "Solarmodule", power: "Leistung", energy: "Energie", health: "Zustand", edit: "Anordnung bearbeiten", save: "Speichern",
    cancel: "Abbrechen", rotate: "Drehen", add: "Neues Feld", automatic: "Automatisch", export: "Exportieren", import: "Importieren",
    remove: "Feld entfernen", name: "Name", azimuth: "Azimut", array: "Modulfeld", unplaced: "Neue Module", now: "Jetzt",
    today: "Heute", play: "Tag abspielen", pause: "Pause", previous: "Tag zurück", next: "Tag vor", time: "Uhrzeit",
    panels: "{n} Module", one: "1 Modul", noPanels: "Keine Module gefunden", noData: "Keine Daten", good: "Gut", warning: "Warnung",
    problem: "Problem", not_producing: "Produziert nicht", no_reports: "Meldet sich nicht", degraded: "Produziert weniger als früher",
    share: "{n} der Nachbarn", selected: "{n} ausgewählt", saved: "Anordnung gespeichert", noHistory: "Keine Daten für diesen Tag",
    loading: "Wird geladen …", failed: "Fehlgeschlagen: {n}", invalid: "Die Datei enthält keine Anordnung", display: "Zuerst anzeigen",
    heading: "Titel", percent: "% der Nachbarn", gateway: "Gateway", slider: "Schieberegler für den Tag anzeigen", noEntry: "Die Integration ist nicht eingerichtet",
    help: "Module ziehen oder mit Umschalt und Pfeiltasten verschieben. R dreht, Leertaste wählt aus. Neben den Modulen ziehen, um mehrere auszuwählen.",
  },
  fr: {
    title: "Panneaux solaires", power: "Puissance", energy: "Énergie", health: "État", edit: "Modifier la disposition", save: "Enregistrer",
    cancel: "Annuler", rotate: "Pivoter", add: "Nouveau champ", automatic: "Automatique", export: "Exporter", import: "Importer",
    remove: "Supprimer le champ", name: "Nom", azimuth: "Azimut", array: "Champ", unplaced: "Nouveaux panneaux", now: "Maintenant",
    today: "Aujourd’hui", play: "Lire la journée", pause: "Pause", previous: "Jour précédent", next: "Jour suivant", time: "Heure",
    panels: "{n} panneaux", one: "1 panneau", noPanels: "Aucun panneau trouvé", noData: "Aucune donnée", good: "Bon", warning: "Avertissement",
    problem: "Problème", not_producing: "Ne produit pas", no_reports: "N’envoie pas de données", degraded: "Produit moins qu’avant",
    share: "{n} de ses voisins", selected: "{n} sélectionnés", saved: "Disposition enregistrée", noHistory: "Aucun historique pour ce jour",
    loading: "Chargement…", failed: "Échec : {n}", invalid: "Le fichier ne contient pas de disposition", display: "Afficher d’abord",
    heading: "Titre", percent: "% des voisins", gateway: "Passerelle", slider: "Afficher le curseur de la journée", noEntry: "L’intégration n’est pas configurée",
    help: "Faites glisser les panneaux ou déplacez-les avec Maj et les flèches. R fait pivoter, Espace sélectionne. Glissez à côté des panneaux pour en sélectionner plusieurs.",
  },
  nl: {
    title: "Zonnepanelen", power: "Vermogen", energy: "Energie", health: "Toestand", edit: "Indeling bewerken", save: "Opslaan",
    cancel: "Annuleren", rotate: "Draaien", add: "Nieuw veld", automatic: "Automatisch", export: "Exporteren", import: "Importeren",
    remove: "Veld verwijderen", name: "Naam", azimuth: "Azimut", array: "Veld", unplaced: "Nieuwe panelen", now: "Nu",
    today: "Vandaag", play: "Dag afspelen", pause: "Pauze", previous: "Vorige dag", next: "Volgende dag", time: "Tijd",
    panels: "{n} panelen", one: "1 paneel", noPanels: "Geen panelen gevonden", noData: "Geen gegevens", good: "Goed", warning: "Waarschuwing",
    problem: "Probleem", not_producing: "Produceert niet", no_reports: "Meldt zich niet", degraded: "Produceert minder dan vroeger",
    share: "{n} van de buren", selected: "{n} geselecteerd", saved: "Indeling opgeslagen", noHistory: "Geen geschiedenis van deze dag",
    loading: "Laden…", failed: "Mislukt: {n}", invalid: "Het bestand bevat geen indeling", display: "Eerst tonen",
    heading: "Titel", percent: "% van de buren", gateway: "Gateway", slider: "Schuifregelaar van de dag tonen", noEntry: "De integratie is niet ingesteld",
    help: "Sleep panelen of verplaats ze met Shift en de pijltoetsen. R draait, spatie selecteert. Sleep naast de panelen om er meer te selecteren.",
  },
  es: {
    title: "Paneles solares", power: "Potencia", energy: "Energía", health: "Estado", edit: "Editar disposición", save: "Guardar",
    cancel: "Cancelar", rotate: "Girar", add: "Nuevo campo", automatic: "Automática", export: "Exportar", import: "Importar",
    remove: "Eliminar campo", name: "Nombre", azimuth: "Acimut", array: "Campo", unplaced: "Paneles nuevos", now: "Ahora",
    today: "Hoy", play: "Reproducir el día", pause: "Pausa", previous: "Día anterior", next: "Día siguiente", time: "Hora",
    panels: "{n} paneles", one: "1 panel", noPanels: "No se encontraron paneles", noData: "Sin datos", good: "Bien", warning: "Advertencia",
    problem: "Problema", not_producing: "No produce", no_reports: "No envía datos", degraded: "Produce menos que antes",
    share: "{n} de sus vecinos", selected: "{n} seleccionados", saved: "Disposición guardada", noHistory: "Sin historial de este día",
    loading: "Cargando…", failed: "Error: {n}", invalid: "El archivo no contiene ninguna disposición", display: "Mostrar primero",
    heading: "Título", percent: "% de los vecinos", gateway: "Puerta de enlace", slider: "Mostrar el control del día", noEntry: "La integración no está configurada",
    help: "Arrastra los paneles o muévelos con Mayús y las flechas. R gira, Espacio selecciona. Arrastra junto a los paneles para seleccionar varios.",
  },
  it: {
    title: "Pannelli solari", power: "Potenza", energy: "Energia", health: "Stato", edit: "Modifica disposizione", save: "Salva",
    cancel: "Annulla", rotate: "Ruota", add: "Nuovo campo", automatic: "Automatica", export: "Esporta", import: "Importa",
    remove: "Rimuovi campo", name: "Nome", azimuth: "Azimut", array: "Campo", unplaced: "Nuovi pannelli", now: "Ora",
    today: "Oggi", play: "Riproduci la giornata", pause: "Pausa", previous: "Giorno precedente", next: "Giorno successivo", time: "Orario",
    panels: "{n} pannelli", one: "1 pannello", noPanels: "Nessun pannello trovato", noData: "Nessun dato", good: "Buono", warning: "Avviso",
    problem: "Problema", not_producing: "Non produce", no_reports: "Non invia dati", degraded: "Produce meno di prima",
    share: "{n} dei vicini", selected: "{n} selezionati", saved: "Disposizione salvata", noHistory: "Nessuna cronologia di questo giorno",
    loading: "Caricamento…", failed: "Errore: {n}", invalid: "Il file non contiene una disposizione", display: "Mostra per primo",
    heading: "Titolo", percent: "% dei vicini", gateway: "Gateway", slider: "Mostra il cursore della giornata", noEntry: "L’integrazione non è configurata",
    help: "Trascina i pannelli o spostali con Maiusc e le frecce. R ruota, Spazio seleziona. Trascina accanto ai pannelli per selezionarne più di uno.",
  },
};
const MODES = ["power", "energy", "health"];
const COMPASS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
const SHORT = 3;
const LONG = 5;
const SLOT = 300000;
/** Milliseconds in which a whole day is played. */
const PLAYED_IN = 14000;
/** Statistics of that many panels are read at once. */
const CHUNK = 100;
/** Pixels of a grid step at most: a panel is 60 by 100. */
const LARGEST_STEP = 20;
/** Colours from no power to full power: their lightness increases, so that they differ without colour vision too. */
const SCALE = [[22, 36, 78], [28, 78, 128], [22, 126, 140], [72, 170, 116], [166, 203, 78], [255, 216, 64]];
/** Statuses of a microinverter that are part of operation. */
const QUIET = new Set(["normal", "sleeping", "low_light", "off_by_command", "power_limited", "restarting", "test_mode",
  "running_on_ac", "not_monitored", "discovering", "unknown", "unavailable"]);
const MARKS = { good: "✓", warning: "!", problem: "✕", none: "?" };
const ICONS = {
  edit: "M20.7 7c.4-.4.4-1 0-1.4l-2.3-2.3c-.4-.4-1-.4-1.4 0l-1.9 1.8 3.8 3.8M3 17.2V21h3.8L17.8 9.9 14 6.1 3 17.2z",
  play: "M8 5.1v13.8L19 12 8 5.1z", pause: "M14 19h4V5h-4M6 19h4V5H6v14z",
  previous: "M15.4 16.6 10.8 12l4.6-4.6L14 6l-6 6 6 6 1.4-1.4z", next: "M8.6 16.6 13.2 12 8.6 7.4 10 6l6 6-6 6-1.4-1.4z",
};

const CSS = `
  :host { display: block; height: 100%; container-type: inline-size; }
  ha-card { display: flex; flex-direction: column; gap: 12px; padding: 16px; height: 100%; box-sizing: border-box;
    color: var(--primary-text-color, #212121); font-family: var(--ha-font-family-body, Roboto, Noto, sans-serif); }
  [hidden] { display: none !important; }
  .head { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; }
  .title { flex: 1 1 0; min-width: 160px; }
  .title h2 { margin: 0; font-size: 14px; font-weight: 500; line-height: 20px; color: var(--secondary-text-color, #727272);
    overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .total { font-size: 28px; line-height: 34px; font-weight: 400; font-variant-numeric: tabular-nums; }
  .total.words { font-size: 18px; line-height: 24px; }
  button, input { font: inherit; color: inherit; }
  button { border: 0; background: none; cursor: pointer; border-radius: 18px; min-height: 36px; padding: 0 14px; font-size: 14px; }
  button:hover { background: color-mix(in srgb, currentColor 8%, transparent); }
  button:focus-visible, input:focus-visible { outline: 2px solid var(--primary-color, #03a9f4); outline-offset: 2px; }
  button[disabled] { opacity: .4; cursor: default; }
  .icon { width: 36px; padding: 6px; flex: none; }
  .icon svg { display: block; width: 24px; height: 24px; fill: currentColor; }
  .modes { display: flex; border-radius: 18px; background: color-mix(in srgb, var(--primary-text-color, #212121) 8%, transparent); }
  .modes button[aria-checked=true] { background: var(--primary-color, #03a9f4); color: var(--text-primary-color, #fff); }
  .arrays { display: flex; flex-wrap: wrap; gap: 16px 24px; justify-content: safe center; align-items: flex-end; flex: 1 0 auto; align-content: center; }
  .array { max-width: 100%; }
  .label { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 10px; font-size: 13px; line-height: 18px; padding-bottom: 6px;
    color: var(--secondary-text-color, #727272); }
  .label b { font-weight: 500; color: var(--primary-text-color, #212121); }
  .label .sum { margin-inline-start: auto; font-variant-numeric: tabular-nums; }
  .label input { background: color-mix(in srgb, var(--primary-text-color, #212121) 6%, transparent); border: 0; border-bottom: 1px solid
    var(--secondary-text-color, #727272); border-radius: 4px 4px 0 0; padding: 6px 8px; width: 130px; font-size: 16px; color: var(--primary-text-color, #212121); }
  .label input[type=number] { width: 70px; }
  .array > svg { display: block; overflow: visible; max-width: 100%; }
  /* Halves the time of a frame in which all of 600 panels change. */
  .arrays:not(.editing) .array > svg { contain: strict; will-change: transform; }
  .panel { cursor: pointer; outline: none; }
  .cell { stroke: color-mix(in srgb, var(--primary-text-color, #212121) 25%, transparent); stroke-width: .06; }
  .wires { stroke: #fff; stroke-opacity: .13; stroke-width: .05; fill: none; pointer-events: none; }
  .value { font-size: 1.15px; font-weight: 500; text-anchor: middle; dominant-baseline: central; pointer-events: none; }
  .value.long { font-size: .98px; }
  .mark { font-size: .95px; font-weight: 700; text-anchor: middle; dominant-baseline: central; pointer-events: none; }
  .small .value, .small .mark, .small .wires { display: none; }
  .panel:hover .cell { stroke: var(--primary-text-color, #212121); stroke-width: .12; }
  .panel:focus-visible .cell, .selected .cell { stroke: var(--primary-color, #03a9f4); stroke-width: .34; }
  .panel:focus-visible .cell { stroke: var(--primary-text-color, #212121); }
  .editing .array > svg { background: color-mix(in srgb, var(--primary-text-color, #212121) 4%, transparent); border-radius: 8px; touch-action: pan-y; }
  .editing .panel { cursor: grab; touch-action: none; }
  .dragging .panel { cursor: grabbing; }
  .marquee { fill: var(--primary-color, #03a9f4); fill-opacity: .15; stroke: var(--primary-color, #03a9f4); stroke-width: .08; }
  .timeline { display: flex; align-items: center; gap: 4px; font-size: 14px; }
  .timeline input { flex: 1 1 80px; min-width: 60px; accent-color: var(--primary-color, #03a9f4); height: 36px; margin: 0 4px; }
  .timeline output { flex: none; min-width: 60px; text-align: end; font-variant-numeric: tabular-nums; color: var(--secondary-text-color, #727272); }
  .foot { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 16px; min-height: 20px; font-size: 13px; line-height: 18px;
    color: var(--secondary-text-color, #727272); }
  .detail { flex: 1 1 160px; min-width: 0; }
  .legend { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 8px; font-variant-numeric: tabular-nums; }
  .ramp { width: 96px; height: 8px; border-radius: 4px; }
  .key { display: inline-flex; align-items: center; gap: 4px; }
  .key i { width: 14px; height: 14px; border-radius: 3px; font: 700 10px/14px sans-serif; text-align: center; }
  .tools { display: flex; flex-wrap: wrap; gap: 8px; }
  .tools button { background: color-mix(in srgb, var(--primary-text-color, #212121) 8%, transparent); }
  .tools .save { background: var(--primary-color, #03a9f4); color: var(--text-primary-color, #fff); }
  .message { font-size: 14px; line-height: 20px; color: var(--secondary-text-color, #727272); }
  @container (max-width: 520px) { .modes { flex: 1 1 100%; order: 3; } .modes button { flex: 1; padding: 0 6px; } ha-card { padding: 12px; } }
`;

const svgNode = (name, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const htmlNode = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};
const icon = (name) => svgNode("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svgNode("path", { d: ICONS[name] }));
const widthOf = (place) => (place.landscape ? LONG : SHORT);
const heightOf = (place) => (place.landscape ? SHORT : LONG);
const overlap = (a, b) => a.x < b.x + widthOf(b) && b.x < a.x + widthOf(a) && a.y < b.y + heightOf(b) && b.y < a.y + heightOf(a);
const copy = (value) => JSON.parse(JSON.stringify(value));

/** Return the places of panels in rows of a width that is sensible for that many pixels. */
function automatic(serials, pixels) {
  const n = serials.length;
  const least = n <= 30 ? 44 : n <= 100 ? 30 : 20;
  const most = Math.max(1, Math.floor(pixels / least));
  const ideal = Math.max(1, Math.min(most, Math.round(Math.sqrt((n * (pixels > 600 ? 2 : 1.1) * LONG) / SHORT))));
  let columns = ideal;
  // Full rows, if there are such near the ideal width.
  let nearest = Infinity;
  for (let tried = Math.ceil(ideal * 0.75); tried <= Math.min(most, Math.ceil(ideal * 1.25)); tried++) {
    if (n % tried === 0 && Math.abs(tried - ideal) < nearest) [columns, nearest] = [tried, Math.abs(tried - ideal)];
  }
  if (nearest === Infinity) columns = Math.ceil(n / Math.ceil(n / ideal));
  return serials.map((serial, at) => ({ serial, x: (at % columns) * SHORT, y: Math.floor(at / columns) * LONG, landscape: false }));
}

/** Return the box around places. */
function bounds(places) {
  if (!places.length) return { left: 0, top: 0, right: SHORT, bottom: LONG };
  return {
    left: Math.min(...places.map((place) => place.x)), top: Math.min(...places.map((place) => place.y)),
    right: Math.max(...places.map((place) => place.x + widthOf(place))),
    bottom: Math.max(...places.map((place) => place.y + heightOf(place))),
  };
}

/** Return the colour for a part between 0 and 1. */
function colourOf(part) {
  const at = Math.max(0, Math.min(1, part)) * (SCALE.length - 1);
  const low = Math.min(SCALE.length - 2, Math.floor(at));
  return SCALE[low].map((from, channel) => Math.round(from + (SCALE[low + 1][channel] - from) * (at - low)));
}

/** Return black or white, whichever has more contrast on a colour. */
function inkOn(rgb) {
  const [r, g, b] = rgb.map((channel) => (channel / 255 <= 0.03928 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#111" : "#fff";
}

/** Return the next round number for the end of a scale. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) * power;
}

/** Return the start of the day of a time in a time zone, in milliseconds. */
function startOfDay(time, zone) {
  const format = new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", hour: "numeric", minute: "numeric", second: "numeric" });
  const passed = (at) => {
    const parts = Object.fromEntries(format.formatToParts(at).map((part) => [part.type, Number(part.value)]));
    return ((parts.hour * 60 + parts.minute) * 60 + parts.second) * 1000;
  };
  let start = Math.floor(time / 1000) * 1000 - passed(time);
  // The clock was changed in between.
  if (passed(start)) start += passed(start) > 12 * 3600000 ? 86400000 - passed(start) : -passed(start);
  return start;
}

/** Move the places by the smallest distance at which they overlap no others. */
function findFree(places, others) {
  const fits = (dx, dy) => !places.some((place) => others.some((other) => overlap({ ...place, x: place.x + dx, y: place.y + dy }, other)));
  for (let radius = 0; radius < 400; radius++) {
    let best;
    for (let dx = -radius; dx <= radius; dx++) {
      for (const dy of Math.abs(dx) === radius ? Array.from({ length: 2 * radius + 1 }, (_, n) => n - radius) : [-radius, radius]) {
        if (fits(dx, dy) && (!best || dx * dx + dy * dy < best[0] ** 2 + best[1] ** 2)) best = [dx, dy];
      }
    }
    if (best) {
      for (const place of places) [place.x, place.y] = [place.x + best[0], place.y + best[1]];
      return;
    }
  }
}

class EnphaseArrayCard extends HTMLElement {
  static getStubConfig() {
    return { mode: "power" };
  }

  static getConfigForm() {
    const texts = { ...TEXTS.en, ...TEXTS[(document.querySelector("home-assistant")?.hass?.language ?? "en").split("-")[0]] };
    const labels = { entry: "gateway", title: "heading", mode: "display", timeline: "slider" };
    return {
      schema: [
        { name: "title", selector: { text: {} } },
        { name: "entry", selector: { config_entry: { integration: "enphase_envoy" } } },
        { name: "mode", selector: { select: { mode: "dropdown", options: MODES.map((mode) => ({ value: mode, label: texts[mode] })) } } },
        { name: "timeline", default: true, selector: { boolean: {} } },
      ],
      computeLabel: (field) => texts[labels[field.name]] ?? field.name,
    };
  }

  constructor() {
    super();
    this.attachShadow({ mode: "open" });
    this._nodes = new Map();
    this._labels = new Map();
    this._selection = new Set();
    this._days = new Map();
    this._formats = {};
    this._at = null;
    this._width = 0;
    this._resized = new ResizeObserver(([entry]) => this._onResize(entry.contentRect.width));
  }

  setConfig(config) {
    if (config.mode && !MODES.includes(config.mode)) throw new Error(`mode is one of ${MODES.join(", ")}`);
    const entryChanged = this._config && this._config.entry !== config.entry;
    this._config = config;
    this._mode = config.mode ?? "power";
    if (this._hass && this._root) {
      this._build();
      if (entryChanged) this._load();
    }
  }

  set hass(hass) {
    const first = !this._hass;
    const otherLanguage = this._hass && this._hass.language !== hass.language;
    this._hass = hass;
    if (first || otherLanguage) {
      this._texts = { ...TEXTS.en, ...TEXTS[(hass.language ?? "en").split("-")[0]] };
      this._build();
    }
    if (first && this.isConnected) this._load();
    this._schedule();
  }

  connectedCallback() {
    if (!this._hass) return;
    this._resized.observe(this._body);
    this._load();
  }

  disconnectedCallback() {
    this._pause();
    clearInterval(this._refresh);
    this._resized.disconnect();
    this._subscribe();
  }

  getCardSize() {
    return 6;
  }

  getGridOptions() {
    return { columns: 12, rows: "auto", min_columns: 6 };
  }

  _text(key, n) {
    return (this._texts[key] ?? key).replace("{n}", n);
  }

  _number(value, digits = 0) {
    // To create a format takes longer than to use it a hundred times.
    const language = this._hass.locale?.language ?? this._hass.language;
    const format = (this._formats[`${language} ${digits}`] ??= new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
    return format.format(value);
  }

  // Data

  async _load() {
    clearInterval(this._refresh);
    this._refresh = setInterval(() => (this._panels?.size ? this._readAgain() : this._load()), SLOT);
    try {
      this._data = await this._hass.callWS({ type: "enphase_envoy/array/get", entry_id: this._config.entry || null });
      this._error = null;
    } catch (error) {
      [this._data, this._error] = [null, error.code === "not_found" || error.code === "unknown_command" ? this._text("noEntry") : error.message];
    }
    this._panels = new Map((this._data?.panels ?? []).map((panel) => [panel.serial, panel]));
    if (!this._editing) this._arrange();
    this._subscribe();
    this._readAgain();
  }

  /** Show what other users store, in a card that is being edited after that. */
  async _subscribe() {
    const entry = this.isConnected ? this._data?.entry_id : undefined;
    if (entry === this._subscribed) return;
    this._subscribed = entry;
    const unsubscribe = this._unsubscribe;
    const onStored = ({ arrangement }) => {
      this._data.arrangement = arrangement;
      if (!this._editing) this._arrange();
    };
    const message = { type: "enphase_envoy/array/subscribe", entry_id: entry };
    this._unsubscribe = entry && this._hass.connection.subscribeMessage(onStored, message).catch(() => null);
    (await unsubscribe)?.();
  }

  /** Read what is not in the states: a report of the integration, and today's statistics where there is none. */
  async _readAgain() {
    if (!this._data || !this.isConnected) return;
    if (this._hass.services?.enphase_envoy?.panel_report) {
      try {
        const answer = await this._hass.callWS({
          type: "call_service", domain: "enphase_envoy", service: "panel_report", return_response: true,
          service_data: { config_entry_id: this._data.entry_id },
        });
        this._report = answer.response?.panels;
      } catch (_error) {
        this._report = null;
      }
    }
    const needsEnergy = this._mode !== "power" && [...this._panels.values()].some((panel) => !panel.energy && (this._report?.[panel.serial]?.energy_today ?? null) === null);
    if (needsEnergy || (this._at !== null && this._day === this._today())) await this._readDay(this._today());
    this._schedule();
  }

  _zone() {
    return this._hass.locale?.time_zone === "server" ? this._hass.config?.time_zone : undefined;
  }

  _today() {
    return startOfDay(Date.now(), this._zone());
  }

  /** Return the powers of each panel in the slots of a day. What was read before is not read again. */
  async _readDay(start) {
    const end = startOfDay(start + 36 * 3600000, this._zone());
    const day = this._days.get(start) ?? { slots: Math.round((end - start) / SLOT), from: start, readAt: 0, powers: new Map(), histories: new Set() };
    if (!this._days.has(start)) this._days.set(start, day);
    const until = Math.min(end, Date.now());
    if (day.reading) return day.reading;
    // Days without data are not read with each movement of the slider.
    if (until - day.from < SLOT || Date.now() - day.readAt < SLOT) return day;
    day.readAt = Date.now();
    const ids = new Map([...this._panels.values()].filter((panel) => panel.power).map((panel) => [panel.power, panel.serial]));
    const put = (id, from, to, value) => {
      let powers = day.powers.get(ids.get(id));
      if (!powers) day.powers.set(ids.get(id), (powers = new Float32Array(day.slots).fill(NaN)));
      powers.fill(value, Math.max(0, from), Math.min(day.slots, to));
    };
    const slotOf = (time) => Math.floor((time - start) / SLOT);
    const read = async () => {
      const from = new Date(day.from).toISOString();
      let last = day.from;
      for (let at = 0; at < ids.size; at += CHUNK) {
        const some = [...ids.keys()].slice(at, at + CHUNK);
        let rows = {};
        try {
          rows = await this._hass.callWS({
            type: "recorder/statistics_during_period", start_time: from, end_time: new Date(end).toISOString(), statistic_ids: some,
            period: "5minute", types: ["mean"], units: { power: "W" },
          });
        } catch (_error) {
          // Without a recorder there is no history either.
        }
        for (const [id, means] of Object.entries(rows)) {
          for (const row of means) {
            put(id, slotOf(row.start), slotOf(row.start) + 1, row.mean ?? NaN);
            last = Math.max(last, row.end);
          }
        }
        const without = some.filter((id) => !rows[id]?.length && (!day.powers.has(ids.get(id)) || day.histories.has(id)));
        for (const id of without) day.histories.add(id);
        if (without.length) last = Math.max(last, await this._readHistory(without, start, until, put, slotOf));
      }
      day.from = last;
      day.reading = null;
      return day;
    };
    day.reading = read();
    return day.reading;
  }

  /** Read the history of panels without statistics: each state is valid until the next one. */
  async _readHistory(ids, start, until, put, slotOf) {
    let states = {};
    try {
      states = await this._hass.callWS({
        type: "history/history_during_period", start_time: new Date(start).toISOString(), end_time: new Date(until).toISOString(),
        entity_ids: ids, minimal_response: true, no_attributes: true, significant_changes_only: false,
      });
    } catch (_error) {
      return 0;
    }
    for (const [id, changes] of Object.entries(states)) {
      const factor = this._hass.states[id]?.attributes.unit_of_measurement === "kW" ? 1000 : 1;
      changes.forEach((change, at) => {
        const next = changes[at + 1] ? (changes[at + 1].lu ?? changes[at + 1].lc) * 1000 : until;
        put(id, slotOf((change.lu ?? change.lc) * 1000), slotOf(next) + (changes[at + 1] ? 0 : 1), factor * parseFloat(change.s));
      });
    }
    return Object.keys(states).length ? until - SLOT : 0;
  }

  _state(id, factors = { kW: 1000, kWh: 1000, MWh: 1000000 }) {
    const state = id ? this._hass.states[id] : undefined;
    const value = state ? parseFloat(state.state) : NaN;
    return Number.isFinite(value) ? value * (factors[state.attributes.unit_of_measurement] ?? 1) : NaN;
  }

  /** Return the energy of a day up to a slot in Wh. */
  _energyUntil(start, serial, slot) {
    const powers = this._days.get(start)?.powers.get(serial);
    if (!powers) return NaN;
    let sum = 0;
    for (let at = 0; at <= slot && at < powers.length; at++) sum += powers[at] || 0;
    return sum / 12;
  }

  _energyToday(panel) {
    const reported = this._state(panel.energy);
    if (Number.isFinite(reported)) return reported;
    return this._report?.[panel.serial]?.energy_today ?? this._energyUntil(this._today(), panel.serial, Infinity);
  }

  /** Return power in W or energy in Wh of a panel at the selected time. */
  _value(panel) {
    if (this._at !== null) {
      if (this._mode === "energy") return this._energyUntil(this._day, panel.serial, this._at);
      return this._days.get(this._day)?.powers.get(panel.serial)?.[this._at] ?? NaN;
    }
    return this._mode === "power" ? this._state(panel.power) : this._energyToday(panel);
  }

  /** Return the class of a panel's health and its description. */
  _health(panel) {
    const problem = this._hass.states[panel.problem];
    const reason = problem?.state === "on" ? (problem.attributes.reason ?? "problem")
      : this._hass.states[this._data.roof_problem]?.attributes.panels?.[panel.serial];
    if (reason) return ["problem", this._text(reason)];
    const status = this._hass.states[panel.status];
    if (status && !QUIET.has(status.state)) return ["warning", this._hass.formatEntityState?.(status) ?? status.state];
    if (!Number.isFinite(this._state(panel.power))) return ["none", this._text("noData")];
    return ["good", status && !["unknown", "unavailable"].includes(status.state) ? (this._hass.formatEntityState?.(status) ?? status.state) : this._text("good")];
  }

  // Arrangement

  /** Use the stored arrangement; panels that it does not contain form an array of their own. */
  _arrange() {
    const serials = [...this._panels.keys()];
    const stored = this._data?.arrangement;
    this._automatic = !stored;
    this._arrays = stored
      ? copy(stored.arrays).map((array) => ({ ...array, panels: array.panels.filter((place) => this._panels.has(place.serial)) }))
      : serials.length ? [{ name: "", azimuth: null, panels: automatic(serials, this._width || 600) }] : [];
    const placed = new Set(this._arrays.flatMap((array) => array.panels.map((place) => place.serial)));
    const left = stored ? serials.filter((serial) => !placed.has(serial)) : [];
    if (left.length) this._arrays.push({ name: this._text("unplaced"), azimuth: null, panels: automatic(left, this._width || 600) });
    if (!this._editing) this._arrays = this._arrays.filter((array) => array.panels.length);
    this._draw();
  }

  _onResize(width) {
    if (Math.abs(width - this._width) < 1) return;
    this._width = width;
    if (this._automatic && !this._editing && this._data) this._arrange();
    else this._draw();
  }

  // Drawing

  /** Build everything but the arrays. */
  _build() {
    const t = (key) => this._texts[key];
    const button = (key, name, onclick) => htmlNode("button", { class: `icon ${name}`, type: "button", "aria-label": t(key), title: t(key), onclick }, icon(name));
    this._resized.disconnect();
    this._modes = htmlNode("div", { class: "modes", role: "radiogroup", onkeydown: (event) => this._onModeKey(event) },
      ...MODES.map((mode) => htmlNode("button", { type: "button", role: "radio", "data-mode": mode, onclick: () => this._setMode(mode) }, t(mode))));
    this._range = htmlNode("input", { type: "range", min: 0, max: 1, step: 1, "aria-label": t("time"), oninput: () => this._onRange() });
    this._clock = htmlNode("output", {});
    this._playButton = button("play", "play", () => (this._playing ? this._pause() : this._play()));
    this._nextButton = button("next", "next", () => this._changeDay(1));
    this._timeline = htmlNode("div", { class: "timeline", role: "group", "aria-label": t("play") },
      button("previous", "previous", () => this._changeDay(-1)), this._playButton, this._nextButton, this._range, this._clock);
    this._editButton = button("edit", "edit", () => this._edit());
    const tool = (key, onclick) => htmlNode("button", { type: "button", class: key, onclick }, t(key));
    this._file = htmlNode("input", { type: "file", accept: "application/json,.json", hidden: true, onchange: () => this._import() });
    this._help = htmlNode("div", { class: "message" }, t("help"));
    this._tools = htmlNode("div", { class: "tools", role: "toolbar", "aria-label": t("edit") },
      tool("save", () => this._save()), tool("cancel", () => this._cancel()), tool("rotate", () => this._rotate()), tool("add", () => this._addArray()),
      tool("automatic", () => this._useAutomatic()), tool("export", () => this._export()), tool("import", () => this._file.click()), this._file);
    this._title = htmlNode("h2", {});
    this._total = htmlNode("div", { class: "total" });
    this._body = htmlNode("div", { class: "arrays" });
    this._message = htmlNode("div", { class: "message", role: "status" });
    this._detail = htmlNode("div", { class: "detail" });
    this._legend = htmlNode("div", { class: "legend" });
    this._root = htmlNode("ha-card", {},
      htmlNode("div", { class: "head" }, htmlNode("div", { class: "title" }, this._title, this._total), this._modes, this._editButton),
      this._tools, this._help, this._body, this._message, this._timeline, htmlNode("div", { class: "foot" }, this._detail, this._legend));
    this.shadowRoot.replaceChildren(htmlNode("style", {}, CSS), this._root);
    this._resized.observe(this._body);
    this._draw();
  }

  /** Build the arrays, after their arrangement or the width has changed. */
  _draw() {
    if (!this._root) return;
    this._nodes.clear();
    this._labels.clear();
    this._sums = [];
    const arrays = this._arrays ?? [];
    const margin = this._editing ? LONG : 0;
    const boxes = arrays.map((array) => {
      const box = bounds(array.panels);
      return { left: box.left - margin, top: box.top - margin, right: box.right + margin, bottom: box.bottom + margin };
    });
    const widest = Math.max(1, ...boxes.map((box) => box.right - box.left));
    this._step = Math.min(LARGEST_STEP, (this._width || 600) / (widest + 0.2));
    const focused = this._focused;
    this._body.replaceChildren(...arrays.map((array, at) => this._drawArray(array, boxes[at], at)));
    this._body.classList.toggle("small", this._step < 6.4);
    this._body.classList.toggle("editing", Boolean(this._editing));
    const total = this._panels?.size ?? 0;
    if (!this._editing) this._say(this._error ?? (this._data && !total ? this._text("noPanels") : ""));
    this._title.textContent = this._config.title ?? this._data?.title ?? this._text("title");
    for (const node of [this._tools, this._help]) node.hidden = !this._editing;
    this._editButton.hidden = Boolean(this._editing) || !this._hass?.user?.is_admin || !total;
    for (const node of this._modes.children) {
      node.setAttribute("aria-checked", String(node.dataset.mode === this._mode));
      node.tabIndex = node.dataset.mode === this._mode ? 0 : -1;
    }
    this._timeline.hidden = this._config.timeline === false || this._mode === "health" || Boolean(this._editing) || !total;
    this._focus(this._nodes.has(focused) ? focused : this._nodes.keys().next().value, false);
    this._shownTime();
    this._update();
  }

  _drawArray(array, box, at) {
    const svg = svgNode("svg", {
      viewBox: `${box.left - 0.1} ${box.top - 0.1} ${box.right - box.left + 0.2} ${box.bottom - box.top + 0.2}`,
      width: (box.right - box.left + 0.2) * this._step, height: (box.bottom - box.top + 0.2) * this._step, role: "group", "data-array": at,
    });
    for (const place of array.panels) svg.append(this._drawPanel(place, array));
    const sum = htmlNode("span", { class: "sum" });
    this._sums.push({ array, sum, svg });
    const label = htmlNode("div", { class: "label" });
    if (this._editing) {
      const number = htmlNode("input", { type: "number", min: 0, max: 360, value: array.azimuth ?? "", placeholder: "°", "aria-label": this._text("azimuth") });
      number.addEventListener("input", () => { array.azimuth = number.value === "" ? null : Math.max(0, Math.min(360, Number(number.value))); });
      const name = htmlNode("input", { type: "text", maxlength: 100, value: array.name, placeholder: this._text("name"), "aria-label": this._text("name") });
      name.addEventListener("input", () => { array.name = name.value; });
      for (const input of [number, name]) input.addEventListener("input", () => { this._automatic = false; });
      label.append(name, number);
      if (this._arrays.length > 1) label.append(htmlNode("button", { type: "button", onclick: () => this._removeArray(array) }, this._text("remove")));
      for (const kind of ["down", "move", "up", "cancel"]) svg.addEventListener(`pointer${kind}`, (event) => this[`_onPointer${kind}`](event, array, svg));
    } else if (array.name || array.azimuth !== null || this._arrays.length > 1) {
      const direction = array.azimuth === null ? "" : `${this._number(array.azimuth)}° ${COMPASS[Math.round(array.azimuth / 45) % 8]}`;
      label.append(htmlNode("b", {}, array.name || this._text("array")), direction, sum);
    } else {
      label.hidden = true;
    }
    svg.addEventListener("keydown", (event) => this._onKey(event));
    svg.addEventListener("click", (event) => this._onClick(event));
    for (const kind of ["pointerover", "focusin"]) svg.addEventListener(kind, (event) => this._showDetail(event.target.closest(".panel")?.dataset.serial));
    svg.addEventListener("pointerleave", () => this._showDetail(null));
    svg.addEventListener("focusin", (event) => this._focus(event.target.closest(".panel")?.dataset.serial, false));
    return htmlNode("div", { class: "array" }, label, svg);
  }

  _drawPanel(place, array) {
    const [w, h] = [widthOf(place), heightOf(place)];
    const cell = svgNode("rect", { class: "cell", x: 0.07, y: 0.07, width: w - 0.14, height: h - 0.14, rx: 0.22 });
    const value = svgNode("text", { class: "value", x: w / 2, y: h / 2 }, "");
    const mark = svgNode("text", { class: "mark", x: place.landscape ? w - 0.75 : w / 2, y: place.landscape ? h / 2 : h / 2 + 1.25 });
    const group = svgNode("g", {
      class: "panel", role: "button", tabindex: -1, "data-serial": place.serial, transform: `translate(${place.x} ${place.y})`,
    }, cell);
    // The cells of a panel; many of them would only be noise.
    if (this._panels.size <= 100) {
      const lines = place.landscape ? "M1.25 .1V2.9M2.5 .1V2.9M3.75 .1V2.9M.1 1.5H4.9" : "M.1 1.25H2.9M.1 2.5H2.9M.1 3.75H2.9M1.5 .1V4.9";
      group.append(svgNode("path", { class: "wires", d: lines }));
    }
    group.append(value, mark);
    group.classList.toggle("selected", this._selection.has(place.serial));
    this._nodes.set(place.serial, { group, cell, value, mark, place, array });
    return group;
  }

  _schedule() {
    if (this._frame) return;
    this._frame = requestAnimationFrame(() => {
      this._frame = null;
      this._update();
    });
  }

  /** Write the values of panels that have changed. */
  _update() {
    if (!this._data || !this._root) return;
    const values = new Map();
    for (const [serial] of this._nodes) values.set(serial, this._value(this._panels.get(serial)));
    const health = this._mode === "health";
    const finite = [...values.values()].filter(Number.isFinite);
    const highest = finite.length ? finite.reduce((a, b) => Math.max(a, b)) : 0;
    const end = this._mode === "power"
      ? Math.max(highest, ...[...this._panels.values()].map((panel) => panel.max_power ?? 0), 100)
      // The scale of a day that is played is that of the whole day.
      : roundUp(Math.max(this._at === null ? highest : this._dayHighest(), 100));
    for (const { array, sum, svg } of this._sums) {
      const own = array.panels.map((place) => values.get(place.serial)).filter(Number.isFinite);
      const median = own.length ? [...own].sort((a, b) => a - b)[Math.floor(own.length / 2)] : NaN;
      for (const place of array.panels) this._paint(place.serial, values.get(place.serial), end, health, median);
      const text = health ? "" : this._sum(own);
      if (sum.textContent !== text) sum.textContent = text;
      const label = `${array.name || this._text("array")}, ${array.panels.length === 1 ? this._text("one") : this._text("panels", array.panels.length)}${text && `, ${text}`}`;
      this._labels.set(svg, label);
    }
    const total = health ? this._healthTotal() : this._sum(finite);
    if (this._total.textContent !== total) this._total.textContent = total;
    this._total.classList.toggle("words", health);
    this._drawLegend(health, end);
    // Labels are read by assistive technology only, and are written when nothing else is to be done, but within a second.
    // Browsers without idle time have setTimeout, for which the options mean no delay.
    this._idle ??= (window.requestIdleCallback ?? setTimeout)(() => this._writeLabels(), { timeout: 1000 });
    if (this._detailOf) this._showDetail(this._detailOf);
  }

  _writeLabels() {
    this._idle = null;
    if (this._playing) return;
    for (const [svg, label] of this._labels) if (svg.getAttribute("aria-label") !== label) svg.setAttribute("aria-label", label);
    for (const [serial, node] of this._nodes) {
      const label = this._describe(serial);
      if (node.label !== label) node.group.setAttribute("aria-label", (node.label = label));
      if (this._editing) node.group.setAttribute("aria-pressed", String(this._selection.has(serial)));
    }
  }

  _dayHighest() {
    const day = this._days.get(this._day);
    if (!day) return 0;
    if (day.highestOf !== day.from) {
      [day.highestOf, day.highest] = [day.from, Math.max(0, ...[...this._panels.keys()].map((serial) => this._energyUntil(this._day, serial, Infinity) || 0))];
    }
    return day.highest;
  }

  _sum(values) {
    if (!values.length) return "–";
    const sum = values.reduce((a, b) => a + b, 0);
    const unit = this._mode === "power" ? "W" : "Wh";
    return sum >= 1000 ? `${this._number(sum / 1000, 2)} k${unit}` : `${this._number(sum)} ${unit}`;
  }

  _healthTotal() {
    const counts = { good: 0, warning: 0, problem: 0, none: 0 };
    for (const node of this._nodes.values()) counts[node.health[0]]++;
    const bad = ["problem", "warning", "none"].filter((kind) => counts[kind]);
    return (bad.length ? bad : ["good"]).map((kind) => `${this._number(counts[kind])} ${this._text(kind === "none" ? "noData" : kind)}`).join(" · ");
  }

  _paint(serial, value, end, health, median) {
    const node = this._nodes.get(serial);
    const known = Number.isFinite(value);
    let rgb;
    let text = "–";
    let mark = "";
    if (health) {
      const panel = this._panels.get(serial);
      node.health = this._health(panel);
      const reported = this._report?.[serial]?.share;
      const share = Number.isFinite(reported) ? reported : median > 0 ? value / median : NaN;
      node.share = Number.isFinite(share) ? `${this._number(share * 100)} %` : "";
      text = node.share ? this._number(share * 100) : "";
      [rgb, mark] = [this._healthColour(node.health[0]), MARKS[node.health[0]]];
    } else if (known) {
      text = this._mode === "power" || end < 1000 ? this._number(value) : this._number(value / 1000, 2);
      rgb = colourOf(value / end);
    } else {
      rgb = this._healthColour("none");
    }
    const fill = `rgb(${rgb})`;
    if (node.fill !== fill) {
      node.fill = fill;
      node.cell.setAttribute("fill", fill);
      const ink = inkOn(rgb);
      if (node.ink !== ink) {
        node.ink = ink;
        node.value.setAttribute("fill", ink);
        node.mark.setAttribute("fill", ink);
      }
    }
    if (node.text !== text) {
      node.value.firstChild.data = node.text = text;
      node.value.classList.toggle("long", text.length > 3);
    }
    if (node.marked !== mark) node.mark.textContent = node.marked = mark;
    node.number = known ? value : NaN;
  }

  _healthColour(kind) {
    return { good: [46, 125, 80], warning: [255, 179, 0], problem: [198, 40, 40], none: [117, 117, 117] }[kind];
  }

  _describe(serial) {
    const node = this._nodes.get(serial);
    const unit = this._mode === "power" ? "W" : "Wh";
    const value = this._mode === "health"
      ? [node.health[1], node.share && this._text("share", node.share)].filter(Boolean).join(", ")
      : Number.isFinite(node.number) ? `${this._number(node.number)} ${unit}` : this._text("noData");
    return `${this._panels.get(serial).name}: ${value}`;
  }

  _showDetail(serial) {
    this._detailOf = serial && this._nodes.has(serial) ? serial : null;
    const text = this._detailOf ? this._describe(serial) : "";
    if (this._detail.textContent !== text) this._detail.textContent = text;
  }

  _drawLegend(health, end) {
    const key = `${this._mode} ${end} ${this._hass.language}`;
    if (key === this._legendOf) return;
    this._legendOf = key;
    if (health) {
      this._legend.replaceChildren(...["good", "warning", "problem", "none"].map((kind) => {
        const rgb = this._healthColour(kind);
        return htmlNode("span", { class: "key" }, htmlNode("i", { style: `background: rgb(${rgb}); color: ${inkOn(rgb)}`, "aria-hidden": "true" }, MARKS[kind]),
          this._text(kind === "none" ? "noData" : kind));
      }), this._text("percent"));
      return;
    }
    const unit = this._mode === "power" ? "W" : "Wh";
    const text = this._mode === "energy" && end >= 1000 ? `${this._number(end / 1000, end % 1000 ? 1 : 0)} kWh` : `${this._number(end)} ${unit}`;
    this._legend.replaceChildren("0", htmlNode("span", { class: "ramp", style: `background: linear-gradient(90deg, ${SCALE.map((rgb) => `rgb(${rgb})`)})` }), text);
  }

  _say(text) {
    this._message.textContent = text;
    this._message.hidden = !text;
  }

  _setMode(mode) {
    this._mode = mode;
    if (mode === "health") this._live();
    this._draw();
    this._readAgain();
  }

  _onModeKey(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this._setMode(MODES[(MODES.indexOf(this._mode) + step + MODES.length) % MODES.length]);
    this._modes.querySelector("[aria-checked=true]").focus();
  }

  // The day

  _live() {
    this._pause();
    [this._at, this._day] = [null, null];
  }

  _lastSlot(day) {
    return day === this._today() ? Math.floor((Date.now() - day) / SLOT) : this._days.get(day).slots - 1;
  }

  /** Show a slot of a day; the end of today is now. */
  async _show(day, slot) {
    const asked = (this._request = {});
    if (!this._days.get(day)?.powers.size) this._clock.textContent = this._text("loading");
    const read = await this._readDay(day);
    if (asked !== this._request) return false;
    if (!read.powers.size) this._say(this._text("noHistory"));
    else this._say("");
    [this._day, this._at] = [day, Math.max(0, Math.min(slot, this._lastSlot(day)))];
    if (day === this._today() && slot >= this._lastSlot(day)) [this._day, this._at] = [null, null];
    this._shownTime();
    this._schedule();
    return true;
  }

  _onRange() {
    this._pause();
    this._show(this._day ?? this._today(), Number(this._range.value));
  }

  _changeDay(days) {
    this._pause();
    const start = this._day ?? this._today();
    const day = startOfDay(start + (days > 0 ? 36 : -12) * 3600000, this._zone());
    if (day <= this._today()) this._show(day, this._at ?? 144);
  }

  _shownTime() {
    const day = this._day ?? this._today();
    const last = this._days.has(day) || day === this._today() ? this._lastSlot(day) : 287;
    this._range.max = last;
    this._range.value = this._at ?? last;
    this._nextButton.disabled = day === this._today();
    const options = { timeZone: this._zone(), hour: "2-digit", minute: "2-digit", ...(day === this._today() ? {} : { day: "numeric", month: "short" }) };
    const format = new Intl.DateTimeFormat(this._hass.locale?.language ?? this._hass.language, options);
    const text = this._at === null ? this._text("now") : format.format(day + this._at * SLOT);
    this._clock.textContent = text;
    this._range.setAttribute("aria-valuetext", text);
  }

  async _play() {
    const day = this._day ?? this._today();
    const start = this._at ?? 0;
    this._playing = true;
    this._setPlayIcon();
    if (!(await this._show(day, start)) || !this._playing) return this._pause();
    // From the first light on.
    const powers = [...this._days.get(day).powers.values()];
    let from = start;
    const last = this._lastSlot(day);
    if (!start) while (from < last && !powers.some((slots) => slots[from] > 0)) from++;
    const began = performance.now();
    const speed = this._days.get(day).slots / PLAYED_IN;
    const frame = (now) => {
      if (!this._playing) return;
      const slot = Math.min(last, from + Math.floor((now - began) * speed));
      if (slot !== this._at) {
        [this._day, this._at] = [day, slot];
        this._shownTime();
        this._update();
      }
      if (slot >= last) {
        this._pause();
        if (day === this._today()) this._live();
        this._shownTime();
        this._schedule();
      } else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    return undefined;
  }

  _pause() {
    this._playing = false;
    if (this._playButton) this._setPlayIcon();
    if (this._hass) this._schedule();
  }

  _setPlayIcon() {
    this._playButton.replaceChildren(icon(this._playing ? "pause" : "play"));
    for (const attribute of ["aria-label", "title"]) this._playButton.setAttribute(attribute, this._text(this._playing ? "pause" : "play"));
  }

  // Selection

  _onClick(event) {
    const serial = event.target.closest(".panel")?.dataset.serial;
    if (serial && !this._editing) this._open(serial);
  }

  _open(serial) {
    const panel = this._panels.get(serial);
    const entityId = panel.power ?? panel.problem ?? panel.status;
    if (entityId) this.dispatchEvent(new CustomEvent("hass-more-info", { bubbles: true, composed: true, detail: { entityId } }));
  }

  /** Make one panel the one that the Tab key reaches. */
  _focus(serial, move = true) {
    if (this._focused !== serial) this._nodes.get(this._focused)?.group.setAttribute("tabindex", -1);
    this._focused = serial;
    const group = this._nodes.get(serial)?.group;
    group?.setAttribute("tabindex", 0);
    if (move) group?.focus();
  }

  _onKey(event) {
    const serial = event.target.closest?.(".panel")?.dataset.serial;
    if (!serial) return;
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (direction && this._editing && event.shiftKey) this._moveBy(serial, direction);
    else if (direction) this._focusNear(serial, direction);
    else if (this._editing && event.key === " ") this._select([serial], this._selection.has(serial) ? "remove" : "add");
    else if (this._editing && event.key.toLowerCase() === "r" && !event.ctrlKey && !event.metaKey) this._rotate(serial);
    else if (this._editing && event.key === "Escape") this._select([], "only");
    else if (!this._editing && (event.key === "Enter" || event.key === " ")) this._open(serial);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Move the focus to the nearest panel in a direction, on the screen and over all arrays. */
  _focusNear(serial, [dx, dy]) {
    const centre = (node) => {
      const box = node.cell.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    const [x, y] = centre(this._nodes.get(serial));
    let best;
    let least = Infinity;
    for (const [other, node] of this._nodes) {
      const [ox, oy] = centre(node);
      const ahead = (ox - x) * dx + (oy - y) * dy;
      const aside = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
      const distance = ahead + 3 * aside;
      if (other !== serial && ahead > 1 && distance < least) [best, least] = [other, distance];
    }
    if (best) this._focus(best);
  }

  _select(serials, how) {
    if (how === "only") this._selection.clear();
    for (const serial of serials) how === "remove" ? this._selection.delete(serial) : this._selection.add(serial);
    for (const [serial, node] of this._nodes) {
      node.group.classList.toggle("selected", this._selection.has(serial));
      node.group.setAttribute("aria-pressed", String(this._selection.has(serial)));
    }
    this._say(this._selection.size ? this._text("selected", this._selection.size) : "");
  }

  // Editing

  _edit() {
    this._live();
    this._editing = true;
    this._selection.clear();
    this._draw();
    this._say("");
  }

  _cancel() {
    this._editing = false;
    this._selection.clear();
    this._arrange();
    this._editButton.focus();
  }

  /** Return the arrays as they are stored: the first panel of each is at the origin. */
  _arrangement() {
    const arrays = this._arrays.filter((array) => array.panels.length || array.name).map(({ name, azimuth, panels }) => {
      const box = bounds(panels);
      return { name, azimuth, panels: panels.map((place) => ({ serial: place.serial, x: place.x - box.left, y: place.y - box.top, landscape: place.landscape })) };
    });
    return { version: 1, arrays };
  }

  async _save() {
    const arrangement = this._automatic ? null : this._arrangement();
    try {
      await this._hass.callWS({ type: "enphase_envoy/array/set", entry_id: this._data.entry_id, arrangement });
    } catch (error) {
      this._say(this._text("failed", error.message ?? error.code));
      return;
    }
    this._data.arrangement = arrangement;
    this._cancel();
    this._say(this._text("saved"));
  }

  _useAutomatic() {
    this._arrays = [{ name: "", azimuth: null, panels: automatic([...this._panels.keys()], Math.max(200, this._width - 2 * LONG * 8)) }];
    this._automatic = true;
    this._select([], "only");
    this._draw();
  }

  _export() {
    const link = htmlNode("a", { href: URL.createObjectURL(new Blob([JSON.stringify(this._arrangement(), null, 2)], { type: "application/json" })), download: "array.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async _import() {
    const [file] = this._file.files;
    this._file.value = "";
    try {
      const read = JSON.parse(await file.text());
      const seen = new Set();
      const arrays = read.arrays.map((array) => ({
        name: String(array.name ?? ""), azimuth: Number.isFinite(array.azimuth) ? array.azimuth : null,
        panels: array.panels.filter((place) => this._panels.has(place.serial) && !seen.has(place.serial) && seen.add(place.serial)).map((place) => {
          if (!Number.isFinite(place.x) || !Number.isFinite(place.y)) throw new TypeError("a place has no numbers");
          return { serial: place.serial, x: Math.round(place.x), y: Math.round(place.y), landscape: Boolean(place.landscape) };
        }),
      }));
      const left = [...this._panels.keys()].filter((serial) => !seen.has(serial));
      if (left.length) arrays.push({ name: this._text("unplaced"), azimuth: null, panels: automatic(left, this._width) });
      this._arrays = arrays;
      this._changed();
      this._say("");
    } catch (_error) {
      this._say(this._text("invalid"));
    }
  }

  _changed() {
    this._automatic = false;
    const focused = this.shadowRoot.activeElement?.dataset?.serial;
    this._draw();
    if (focused) this._focus(focused);
  }

  _addArray() {
    const panels = this._takeSelected();
    this._arrays.push({ name: `${this._text("array")} ${this._arrays.length + 1}`, azimuth: null, panels });
    this._changed();
  }

  _takeSelected() {
    const taken = [];
    for (const array of this._arrays) {
      taken.push(...array.panels.filter((place) => this._selection.has(place.serial)));
      array.panels = array.panels.filter((place) => !this._selection.has(place.serial));
    }
    return taken;
  }

  /** Remove an array; its panels are added below those of the first other one. */
  _removeArray(array) {
    this._arrays = this._arrays.filter((other) => other !== array);
    const [first] = this._arrays;
    const [below, box] = [bounds(first.panels).bottom, bounds(array.panels)];
    first.panels.push(...array.panels.map((place) => ({ ...place, x: place.x - box.left, y: place.y - box.top + (first.panels.length ? below : 0) })));
    this._changed();
  }

  /** Rotate the selected panels, or one. Together they keep their rows. */
  _rotate(serial) {
    const rotated = this._selection.size && (!serial || this._selection.has(serial)) ? this._selection : new Set(serial ? [serial] : []);
    for (const array of this._arrays) {
      const places = array.panels.filter((place) => rotated.has(place.serial));
      if (!places.length) continue;
      const box = bounds(places);
      const [wider, higher] = places[0].landscape ? [SHORT / LONG, LONG / SHORT] : [LONG / SHORT, SHORT / LONG];
      for (const place of places) {
        [place.x, place.y] = [box.left + Math.round((place.x - box.left) * wider), box.top + Math.round((place.y - box.top) * higher)];
        place.landscape = !place.landscape;
      }
      findFree(places, array.panels.filter((place) => !rotated.has(place.serial)));
    }
    this._changed();
  }

  _moveBy(serial, [dx, dy]) {
    if (!this._selection.has(serial)) this._select([serial], "only");
    for (const array of this._arrays) {
      const places = array.panels.filter((place) => this._selection.has(place.serial));
      const others = array.panels.filter((place) => !this._selection.has(place.serial));
      // Over other panels, to the next free place in that direction.
      do for (const place of places) [place.x, place.y] = [place.x + dx, place.y + dy];
      while (places.some((place) => others.some((other) => overlap(place, other))));
    }
    this._changed();
  }

  _onPointerdown(event, array, svg) {
    if (event.button) return;
    const serial = event.target.closest(".panel")?.dataset.serial;
    if (!serial && event.pointerType === "touch") return;
    svg.setPointerCapture(event.pointerId);
    const drag = { x: event.clientX, y: event.clientY, svg, array, serial, moved: false };
    if (serial) {
      // A finger selects when it is lifted, one panel after another.
      drag.toggles = event.pointerType === "touch";
      if (event.shiftKey || event.ctrlKey || event.metaKey) this._select([serial], this._selection.has(serial) ? "remove" : "add");
      else if (!drag.toggles && !this._selection.has(serial)) this._select([serial], "only");
      this._focus(serial);
    } else if (!event.shiftKey) this._select([], "only");
    this._drag = drag;
  }

  _onPointermove(event) {
    const drag = this._drag;
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!drag.moved && drag.serial) {
      if (!this._selection.has(drag.serial)) this._select([drag.serial], "only");
      drag.places = drag.array.panels.filter((place) => this._selection.has(place.serial));
      drag.others = drag.array.panels.filter((place) => !this._selection.has(place.serial));
      for (const place of drag.places) drag.svg.append(this._nodes.get(place.serial).group);
    }
    drag.moved = true;
    if (!drag.serial) {
      drag.marquee ??= drag.svg.appendChild(svgNode("rect", { class: "marquee" }));
      const [from, to] = [this._toGrid(drag.svg, drag.x, drag.y), this._toGrid(drag.svg, event.clientX, event.clientY)];
      drag.box = { left: Math.min(from[0], to[0]), top: Math.min(from[1], to[1]), right: Math.max(from[0], to[0]), bottom: Math.max(from[1], to[1]) };
      for (const [key, value] of Object.entries({ x: drag.box.left, y: drag.box.top, width: drag.box.right - drag.box.left, height: drag.box.bottom - drag.box.top })) drag.marquee.setAttribute(key, value);
      return;
    }
    this._body.classList.add("dragging");
    drag.by = this._snap(drag, dx / this._step, dy / this._step);
    for (const place of drag.places) {
      this._nodes.get(place.serial).group.setAttribute("transform", `translate(${place.x + drag.by[0]} ${place.y + drag.by[1]})`);
    }
  }

  /** Return the distance on the grid, attracted by the edges of other panels. */
  _snap(drag, dx, dy) {
    const held = drag.places.find((place) => place.serial === drag.serial);
    let best;
    let most = -Infinity;
    for (const x of [-1, 0, 1].map((step) => Math.round(dx) + step)) {
      for (const y of [-1, 0, 1].map((step) => Math.round(dy) + step)) {
        const at = { ...held, x: held.x + x, y: held.y + y };
        let edges = 0;
        for (const other of drag.others) {
          if (Math.abs(other.x - at.x) > 2 * LONG || Math.abs(other.y - at.y) > 2 * LONG) continue;
          const beside = at.x === other.x + widthOf(other) || at.x + widthOf(at) === other.x;
          const under = at.y === other.y + heightOf(other) || at.y + heightOf(at) === other.y;
          if ((beside && at.y === other.y) || (under && at.x === other.x)) edges = Math.max(edges, 1);
          else if (beside || under || at.x === other.x || at.y === other.y) edges = Math.max(edges, 0.5);
        }
        const score = edges - 0.6 * Math.hypot(x - dx, y - dy);
        if (score > most) [best, most] = [[x, y], score];
      }
    }
    return best;
  }

  _onPointerup(event) {
    const drag = this._drag;
    this._drag = null;
    this._body.classList.remove("dragging");
    if (!drag) return;
    if (drag.marquee) {
      drag.marquee.remove();
      const inside = drag.array.panels.filter((place) => place.x < drag.box.right && place.x + widthOf(place) > drag.box.left && place.y < drag.box.bottom && place.y + heightOf(place) > drag.box.top);
      this._select(inside.map((place) => place.serial), "add");
      return;
    }
    if (!drag.moved && drag.toggles) this._select([drag.serial], this._selection.has(drag.serial) ? "remove" : "add");
    if (!drag.moved || !drag.serial) return;
    const under = this.shadowRoot.elementsFromPoint(event.clientX, event.clientY).map((node) => node.closest?.("svg[data-array]")).find((svg) => svg);
    const target = under ? this._arrays[Number(under.dataset.array)] : drag.array;
    let [dx, dy] = drag.by;
    if (target !== drag.array) {
      const [from, to] = [this._toGrid(drag.svg, event.clientX, event.clientY), this._toGrid(under, event.clientX, event.clientY)];
      [dx, dy] = [Math.round(drag.by[0] + to[0] - from[0]), Math.round(drag.by[1] + to[1] - from[1])];
      drag.array.panels = drag.others;
      target.panels.push(...drag.places);
      drag.others = target.panels.filter((place) => !drag.places.includes(place));
    }
    const before = { ...drag.places[0] };
    for (const place of drag.places) [place.x, place.y] = [place.x + dx, place.y + dy];
    this._exchange(drag, before, target);
    findFree(drag.places, drag.others);
    this._changed();
  }

  _onPointercancel() {
    this._drag = null;
    this._body.classList.remove("dragging");
    this._draw();
  }

  /** Exchange a panel that was dropped on another one with it. */
  _exchange(drag, before, target) {
    const [place] = drag.places;
    if (drag.places.length !== 1 || target !== drag.array) return;
    const [x, y] = [place.x + widthOf(place) / 2, place.y + heightOf(place) / 2];
    const other = drag.others.find((panel) => panel.landscape === place.landscape && panel.x < x && x < panel.x + widthOf(panel) && panel.y < y && y < panel.y + heightOf(panel));
    if (!other) return;
    [place.x, place.y, other.x, other.y] = [other.x, other.y, before.x, before.y];
  }

  _toGrid(svg, x, y) {
    const point = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }
}

window.customCards = window.customCards ?? [];
if (!window.customCards.some((card) => card.type === "enphase-array-card")) {
  window.customCards.push({
    type: "enphase-array-card", name: "Enphase solar array", preview: true,
    description: "Power, energy and health of each solar panel, as they are on the roof.",
    documentationURL: "https://github.com/enphase-envoy/enphase-envoy/blob/main/docs/array_card.md",
    // Suggested for the power of the gateway and of panels.
    getEntitySuggestion: (hass, entityId) => hass.entities?.[entityId]?.platform === "enphase_envoy" && hass.states[entityId]?.attributes.device_class === "power"
      ? { config: { type: "custom:enphase-array-card" } } : null,
  });
}
// Home Assistant's frontend replaces the registry of elements while it starts; elements defined before are lost.
const started = document.querySelector("home-assistant") ? customElements.whenDefined("home-assistant") : Promise.resolve();
started.then(() => {
  if (!customElements.get("enphase-array-card")) customElements.define("enphase-array-card", EnphaseArrayCard);
});
