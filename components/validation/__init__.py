"""Record rules, statistics, schema and anomalies."""
