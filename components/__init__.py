"""Building blocks of reviewbeam's jobs, one folder per concern."""

from reviewbeam.components.common.processor import guard_instruction_set

# Every process that runs our code imports this package first, Beam's workers
# included: so the guard stands before any numeric library is loaded.
guard_instruction_set()
