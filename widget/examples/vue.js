// Vue sets what an element has as properties, and attributes until the script of the origin has come. So names are
// written as attributes are: `max-tier`. In a template, tell its compiler that the tag is no component:
// compilerOptions.isCustomElement = (tag) => tag === "live-score".
import { createApp, h, ref } from "vue";

const App = {
  props: ["matches"],
  setup(props) {
    const match = ref(props.matches[0]);
    const news = ref("");
    return () => [
      props.matches.map((id) => h("button", { onClick: () => (match.value = id) }, id)),
      h(
        "live-score",
        { match: match.value, "max-tier": "1", "onLive-score:change": (event) => (news.value = event.detail.announce) },
        `The score of ${match.value}`,
      ),
      h("output", news.value),
    ];
  },
};

export function mount(target, matches) {
  const app = createApp(App, { matches });
  app.mount(target);
  return () => app.unmount();
}
