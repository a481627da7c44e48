// Lit: a dot before the name sets the property, an at sign listens to the event.
import { LitElement, html, render } from "lit";

class MatchChooser extends LitElement {
  static properties = { matches: {}, match: { state: true }, news: { state: true } };

  createRenderRoot() {
    return this;
  }

  render() {
    const match = this.match ?? this.matches[0];
    return html`
      ${this.matches.map((id) => html`<button @click=${() => (this.match = id)}>${id}</button>`)}
      <live-score
        .match=${match}
        max-tier="1"
        @live-score:change=${(event) => (this.news = event.detail.announce)}
      >The score of ${match}</live-score>
      <output>${this.news}</output>
    `;
  }
}

customElements.define("match-chooser", MatchChooser);

export function mount(target, matches) {
  render(html`<match-chooser .matches=${matches}></match-chooser>`, target);
  return () => render(null, target);
}
