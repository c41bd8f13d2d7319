//! Everything that can fail, block or see a clock.
