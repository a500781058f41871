// Empty is the floor: a static Go program that does nothing.
package main

func main() {}
