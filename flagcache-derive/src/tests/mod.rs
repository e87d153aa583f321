mod expansion;
mod mangled;
mod near_misses;
