"""The report and the page of a verdict: pictures, tables and words from what an audit found."""
