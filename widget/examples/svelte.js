import { mount as mountComponent, unmount } from "svelte";
import App from "./App.svelte";

export function mount(target, matches) {
  const app = mountComponent(App, { target, props: { matches } });
  return () => unmount(app);
}
