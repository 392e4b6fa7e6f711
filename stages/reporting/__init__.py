"""The report: results, pictures and their origin as one page, and a model card."""
