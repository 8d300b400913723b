mod legit;
