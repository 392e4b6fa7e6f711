"""A comparison as Markdown, for the summary of a CI job and for a comment that is found again."""

from pathlib import Path

from stages.comparison import sections
from stages.comparison.findings import Findings
from stages.comparison.wording import check_text, headline, sentences
from stages.reporting.sections import Table
from stages.reporting.templating import markdown_templates
from stages.reporting.words import capital

MARKER = "<!-- results-of-a-change -->"  # the first line; CI finds its comment by it
TEMPLATES = Path(__file__).with_name("templates")
LONGEST_TABLE = 150  # rows; a comment on GitHub holds 65,536 characters
SHOWN_RULES = 30
MARKS = {"worse": "🔴", "better": "🟢"}
OTHER_MARK = "⚪"


def as_markdown(findings: Findings) -> str:
    """The whole comparison, its details folded."""
    check = findings.check
    details = [
        sections.settings_table(findings),
        sections.stages_table(findings),
        sections.code_table(findings),
        sections.flips_table(findings),
        sections.metrics_table(findings, everything=True),
        *([check.table] if check.table else []),
    ]
    broken = check.with_outcome("broken")
    return (
        markdown_templates(TEMPLATES)
        .get_template("comparison.md.j2")
        .render(
            marker=MARKER,
            findings=findings,
            check=check,
            broken=broken[:SHOWN_RULES],
            more_broken=len(broken) - SHOWN_RULES,
            headline=capital(headline(findings)),
            check_text=check_text(check),
            sentences=[(MARKS.get(kind, OTHER_MARK), text) for kind, text in sentences(findings)],
            judgements=sections.judgements_table(findings),
            details=[_cut(table) for table in details if table.rows],
        )
    )


def _cut(table: Table) -> Table:
    more = len(table.rows) - LONGEST_TABLE
    if more > 0:
        table.rows[LONGEST_TABLE:] = [[f"and {more} more", *[""] * (len(table.header) - 1)]]
    return table
