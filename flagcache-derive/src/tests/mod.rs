mod expansion;
mod externs;
mod mangled;
mod similar_names;
