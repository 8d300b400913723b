mod one_way;
mod parse;
