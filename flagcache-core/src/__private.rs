//! What the macro expansion calls. Not API: it changes with any release.
