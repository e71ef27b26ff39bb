//! What the test targets of this package share.
