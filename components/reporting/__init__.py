"""The pages a person looks at: one self-contained HTML file beside each artifact."""
