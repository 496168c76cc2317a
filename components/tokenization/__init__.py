"""Text rules and SentencePiece under XLM-R's ids."""
