"""Have `dvc plots show` and `dvc plots diff` draw without a network.

DVC's own page asks a server on the internet for Vega, which draws the plots. This one has Vega
inside (from vl-convert, a package of the lock file) and fits a phone. It is named in
`.dvc/config.local`: where nobody has made the page, DVC uses its own.
"""

import argparse
import subprocess
from pathlib import Path

import vl_convert

from stages.data.errors import UserError
from stages.data.files import replacing
from stages.workflow.command import run_reporting_mistakes

PAGE = Path(".dvc/plots_page.html")
VEGA_LITE = "5.21"  # DVC's templates are for version 5

# DVC calls this for each plot.
VEGA_EMBED = """
window.vegaEmbed = (element, spec) => {
  for (const param of spec.params ?? []) {
    if (param.name === "showValues") param.value = true;  // the counts of confusion matrices
  }
  return vegaEmbed(element, spec, {
    renderer: "svg",  // can be made smaller
    actions: { export: true, source: false, compiled: false, editor: false },
    config: {
      legend: { orient: "bottom", symbolType: "stroke", symbolSize: 600, columns: 2 },
      header: { title: null },
      axisXDiscrete: { labelAngle: -30 },
    },
  });
};
"""

# DVC fills {plot_divs}. Its {scripts} is left out: it asks the network for Vega.
HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>car-or-truck: plots</title>
<style>
  body { margin: 1rem auto; padding: 0 1rem; max-width: 90rem; background: #f4f4f6;
         font: 1rem/1.4 system-ui, sans-serif; color: #222; }
  h1 { margin: 0 0 1rem; font-size: 1.4rem; }
  main { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
  main > div { box-sizing: border-box; max-width: 100%; padding: 1rem; border-radius: 0.5rem;
               background: #fff; box-shadow: 0 0 3px #bbb; }
  /* DVC puts styles on its pictures; these go before them. */
  main > div[style] { display: flex; flex-wrap: wrap; gap: 1rem; border: 0 !important;
                      white-space: normal !important; overflow-wrap: anywhere; }
  main > div > p { flex-basis: 100%; margin: 0; text-align: left; font-weight: bold;
                   font-size: 0.9rem; }
  main > div > div[style] { margin: 0 !important; border: 0 !important; }
  main > div > div > p { margin: 0 0 0.3rem; text-align: left; font-size: 0.8rem; color: #666; }
  form.vega-bindings { font-size: 0.8rem; color: #666; }
  img, svg.marks { max-width: 100%; height: auto; }
</style>
<script>(() => {
{vega}
})();</script>
</head>
<body>
<h1>Plots of the pipeline</h1>
<main>
{plot_divs}
</main>
</body>
</html>
"""


def main() -> None:
    """Make the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    run_reporting_mistakes(make_page)


def make_page() -> None:
    """Write the page, then have DVC use it.

    Raises:
        UserError: it cannot be written, or DVC refuses the setting.
    """
    vega = vl_convert.javascript_bundle(VEGA_EMBED, vl_version=VEGA_LITE)
    with replacing(PAGE) as unfinished:
        unfinished.write_text(HTML.replace("{vega}", vega), encoding="utf-8")
    command = ["dvc", "config", "--local", "plots.html_template", PAGE.name]
    if subprocess.run(command, check=False).returncode:  # noqa: S603  # DVC of the environment
        raise UserError(f"`{' '.join(command)}` failed; see the lines above")


if __name__ == "__main__":
    main()
