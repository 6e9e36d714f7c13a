"""Tests with real servers, Ray, browsers, shells and processes."""
