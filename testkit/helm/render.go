// Renders a Helm chart, as `helm template` does, with Helm's own loader, values and engine.
//
// Helm's program takes two minutes to compile, most of it for the parts that speak with a cluster. This takes what
// the tests need: render RELEASE CHART [VALUES.yaml...] prints the manifests, or Helm's error with exit code 1.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

const kubernetes = "v1.33.0"

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: render RELEASE CHART [VALUES.yaml...]")
		os.Exit(64)
	}
	if err := render(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func render(release, path string, files []string) error {
	loaded, err := loader.Load(path)
	if err != nil {
		return err
	}
	given := map[string]interface{}{}
	for _, file := range files {
		more, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		given = chartutil.CoalesceTables(more.AsMap(), given)
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: "default", Revision: 1, IsInstall: true}
	// Helm's own program has the version that it was built for; a library has 1.20.
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: kubernetes, Major: "1", Minor: "33"}
	if !chartutil.IsCompatibleRange(loaded.Metadata.KubeVersion, kubernetes) {
		return fmt.Errorf("chart requires kubeVersion %s, and this is %s", loaded.Metadata.KubeVersion, kubernetes)
	}
	// ToRenderValues checks the values by values.schema.json.
	values, err := chartutil.ToRenderValues(loaded, given, options, capabilities)
	if err != nil {
		return err
	}
	// As `helm lint --strict` and `helm template` do: a value that is missing is an error, not an empty text.
	rendered, err := engine.Engine{Strict: true}.Render(loaded, values)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(rendered))
	for name := range rendered {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(rendered[name]) != "" {
			fmt.Printf("---\n# Source: %s\n%s\n", name, rendered[name])
		}
	}
	return nil
}
