"""Have `dvc plots show` and `dvc plots diff` draw without a network.

DVC's own page asks a server on the internet for Vega, which draws the plots. This one has Vega
inside (from vl-convert, a package of the lock file) and fits a phone. It is named in
`.dvc/config.local`: where nobody has made the page, DVC uses its own.
"""

import argparse
import subprocess
from pathlib import Path

from stages.data.errors import UserError

PAGE = Path(".dvc/plots_page.html")
# DVC fills its {plot_divs}; DVC's {scripts} is left out: it asks the network for Vega.
TEMPLATE = Path(__file__).with_suffix(".html")
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


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Declare no options."""


def run(_: argparse.Namespace) -> None:
    """Write the page, then have DVC use it.

    Raises:
        UserError: it cannot be written, or DVC refuses the setting.
    """
    import vl_convert

    from stages.data.files import replacing

    vega = vl_convert.javascript_bundle(VEGA_EMBED, vl_version=VEGA_LITE)
    template = TEMPLATE.read_text(encoding="utf-8")
    with replacing(PAGE) as unfinished:
        unfinished.write_text(template.replace("{vega}", vega), encoding="utf-8")
    command = ["dvc", "config", "--local", "plots.html_template", PAGE.name]
    if subprocess.run(command, check=False).returncode:  # noqa: S603  # DVC of the environment
        raise UserError(f"`{' '.join(command)}` failed; see the lines above")
